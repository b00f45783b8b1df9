"""What surely cannot be paid is refused at once, and then nothing is written."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from services.billing.domain.channel_choice import (
    BELIEVED_FOR,
    Collection,
    KnownChannels,
    check_channel,
    check_known,
)
from services.billing.tests.builders import AMOUNT, NOW, ORDER_LIFETIME
from services.billing.tests.running_billing import Billing
from shared.kernel.errors import Refused, Unavailable, WordedOutage, WordedRefusal
from shared.kernel.events import CHANNEL_IDS, CHOSEN_BY_PAYER, ChannelsChanged, Message
from shared.kernel.ids import new_id
from shared.kernel.money import Money
from shared.kernel.wording import Language
from shared.runtime.database.database import open_database
from shared.runtime.database.statements import text
from testing.builders import channel_offer, channels_changed, message

BANK = "bank-direct-debit"
LIST_ID = new_id()
STOPPED: dict[str, Any] = {"on": False, "off_because": "stopped"}
NOT_CONFIGURED: dict[str, Any] = {"on": False, "off_because": "not_configured"}
TOO_LATE: dict[str, Any] = {"charges_from": NOW + ORDER_LIFETIME}
# What payment announces of the channel → what a person is answered.
OBSTACLES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "stopped": (STOPPED, Unavailable, "channel_stopped"),
    "without an address": (NOT_CONFIGURED, Refused, "channel_not_configured"),
    "off for a reason of tomorrow": (
        {"on": False, "off_because": "new"},
        Refused,
        "channel_not_configured",
    ),
    "amount above": ({"max_amount_fen": AMOUNT.fen - 1}, Refused, "amount_not_taken"),
    "amount below": ({"min_amount_fen": AMOUNT.fen + 1}, Refused, "amount_not_taken"),
    "another region": ({"regions": ("110000", "310100")}, Refused, "region_not_taken"),
    "no region": ({"regions": ()}, Refused, "region_not_taken"),
    "no mandate": ({"needs_mandate": True}, Refused, "mandate_missing"),
    "charged after the order is over": (TOO_LATE, Refused, "charged_too_late"),
}
FINE: dict[str, dict[str, Any]] = {
    "the amount exactly": {"min_amount_fen": AMOUNT.fen, "max_amount_fen": AMOUNT.fen},
    "the region": {"regions": ("110000", "310000")},
    "charged before the order is over": {
        "charges_from": NOW + ORDER_LIFETIME - timedelta(milliseconds=1)
    },
}


@pytest.fixture(scope="module", params=["asyncpg", "psycopg"])
async def billing(
    request: pytest.FixtureRequest, service_database: Callable[[str], str]
) -> AsyncIterator[Billing]:
    """On both drivers, so that every statement here runs on both."""
    url = service_database("billing").replace("+asyncpg", f"+{request.param}")
    database = open_database(url, source="billing", pool_size=4)
    yield Billing(database)
    await database.close()


@pytest.fixture(autouse=True)
async def nothing_announced(request: pytest.FixtureRequest) -> None:
    """Each test begins before the first announcement."""
    if "billing" in request.fixturenames:
        billing: Billing = request.getfixturevalue("billing")
        async with billing.database.transaction() as unit:
            await unit.connection.execute(text("TRUNCATE channel_list"))


def announced(
    *, sequence: int = 1, at: datetime = NOW, default_channel: str = BANK, **offer: Any
) -> Message[ChannelsChanged]:
    """Every declared channel: the bank as `offer` says, the others take everything."""
    others = [channel_offer(id) for id in CHANNEL_IDS if id != BANK]
    body = channels_changed(
        channel_list_id=LIST_ID,
        default_channel=default_channel,
        channels=(*others, channel_offer(BANK, **offer)),
    )
    return message(body, sequence=sequence, time=at)


def known(**fields: Any) -> KnownChannels:
    told = announced(**fields)
    return KnownChannels(
        default_channel=told.body.default_channel,
        offers=told.body.channels,
        announced_at=told.envelope.time,
    )


def a_collection(**fields: Any) -> Collection:
    defaults: dict[str, Any] = {
        "amount": AMOUNT,
        "region": "310000",
        "has_mandate": False,
        "expires_at": NOW + ORDER_LIFETIME,
    }
    return Collection(**defaults | fields)


@pytest.mark.parametrize("is_announced", [False, True])
async def test_fifty_requests_for_no_channel_are_refused_and_write_nothing(
    billing: Billing, is_announced: bool
) -> None:
    contribution, _ = await billing.assess(new_id())
    if is_announced:
        await billing.hear(announced())
    before = await billing.business_state()

    answers = await asyncio.gather(
        *(billing.request(contribution, channel="no-such-channel") for _ in range(50)),
        return_exceptions=True,
    )

    refusals = [answer for answer in answers if isinstance(answer, Refused)]
    assert [(refusal.code, refusal.status) for refusal in refusals] == [
        ("channel_unknown", 422)
    ] * 50
    assert await billing.business_state() == before
    assert len(await billing.told(contribution.insured_person_id)) == 1


@pytest.mark.parametrize("channel", [BANK, None])
@pytest.mark.parametrize("name", OBSTACLES)
async def test_what_a_channel_cannot_take_is_refused_and_nothing_is_written(
    billing: Billing, name: str, channel: str | None
) -> None:
    offer, kind, code = OBSTACLES[name]
    contribution, _ = await billing.assess(new_id())
    await billing.hear(announced(**offer))
    before = await billing.business_state()

    with pytest.raises(kind) as refusal:
        await billing.request(contribution, channel=channel)

    assert getattr(refusal.value, "code", None) == code
    assert await billing.business_state() == before
    assert len(await billing.told(contribution.insured_person_id)) == 1
    # Another way is open.
    await billing.request(contribution, channel="alipay")


@pytest.mark.parametrize("name", FINE)
async def test_what_a_channel_can_take_begins(billing: Billing, name: str) -> None:
    contribution, _ = await billing.assess(new_id())
    await billing.hear(announced(**FINE[name]))

    request = await billing.request(contribution, channel=BANK)

    assert request.channel == BANK


@pytest.mark.parametrize("away", [BELIEVED_FOR, -BELIEVED_FOR])
@pytest.mark.parametrize("name", OBSTACLES)
async def test_what_was_announced_too_long_ago_is_payments_to_say(
    billing: Billing, name: str, away: timedelta
) -> None:
    offer, _, _ = OBSTACLES[name]
    contribution, _ = await billing.assess(new_id())
    a_little = timedelta(seconds=1) if away > timedelta(0) else timedelta(seconds=-1)
    await billing.hear(announced(at=NOW - away - a_little, **offer))

    request = await billing.request(contribution, channel=BANK)

    assert request.channel == BANK
    # A name that was never declared stays unknown.
    other, _ = await billing.assess(new_id())
    with pytest.raises(Refused, match="channel_unknown"):
        await billing.request(other, channel="no-such-channel")


async def test_fifteen_minutes_are_believed_and_sixteen_are_not(billing: Billing) -> None:
    contribution, _ = await billing.assess(new_id())
    await billing.hear(announced(**STOPPED))

    with pytest.raises(Unavailable, match="channel_stopped"):
        await billing.request(contribution, now=NOW + timedelta(minutes=15))
    request = await billing.request(contribution, now=NOW + timedelta(minutes=16))

    assert request.channel == BANK


async def test_an_order_that_is_open_is_given_again_whatever_was_announced_since(
    billing: Billing,
) -> None:
    contribution, request = await billing.requested()
    await billing.hear(announced(**STOPPED))

    again = await billing.request(contribution)

    assert again == request


async def test_announcements_in_any_order_and_repeated_end_with_the_newest(
    billing: Billing,
) -> None:
    offers: list[dict[str, Any]] = [{}, STOPPED, {}, NOT_CONFIGURED]
    said = [announced(sequence=n, **offer) for n, offer in enumerate(offers, start=1)]
    ends = []
    for order in permutations(said):
        await billing.execute("TRUNCATE channel_list")
        await billing.hear(*order, *reversed(order))
        ends.append((await billing.business_state())["channel_list"])

    assert all(end == ends[0] for end in ends)
    contribution, _ = await billing.assess(new_id())
    with pytest.raises(Refused, match="channel_not_configured"):
        await billing.request(contribution)


async def test_a_channel_that_starts_again_takes_payments_at_once(billing: Billing) -> None:
    contribution, _ = await billing.assess(new_id())
    await billing.hear(announced(sequence=1, **STOPPED), announced(sequence=2))

    request = await billing.request(contribution)

    assert request.channel == BANK


def test_a_declared_channel_that_payment_does_not_announce_is_unknown() -> None:
    without_alipay = KnownChannels(
        default_channel=BANK, offers=(channel_offer(BANK),), announced_at=NOW
    )

    with pytest.raises(Refused, match="channel_unknown"):
        check_known("alipay", without_alipay)


def test_a_channel_that_payment_announces_is_known_before_it_is_declared() -> None:
    newer = KnownChannels(default_channel=BANK, offers=(channel_offer("new"),), announced_at=NOW)

    check_channel("new", newer, a_collection())


@pytest.mark.parametrize("channel", [CHOSEN_BY_PAYER, None])
def test_a_payer_who_chooses_later_needs_one_channel_that_can_take_it(channel: str | None) -> None:
    one_left = known(default_channel=CHOSEN_BY_PAYER, **STOPPED)
    none_left = KnownChannels(
        default_channel=CHOSEN_BY_PAYER,
        offers=(channel_offer("alipay", **STOPPED), channel_offer(BANK, max_amount_fen=1)),
        announced_at=NOW,
    )

    check_channel(channel, one_left, a_collection())
    with pytest.raises(Unavailable, match="no_channel") as outage:
        check_channel(channel, none_left, a_collection())
    assert outage.value.retry_after_seconds == 60


def test_a_province_stands_for_its_cities_and_a_mandate_lets_debit() -> None:
    offer = known(regions=("320000",), needs_mandate=True)

    check_channel(BANK, offer, a_collection(region="320100", has_mandate=True))


def test_a_program_reads_the_limits_and_the_channel() -> None:
    with pytest.raises(Refused) as refusal:
        check_channel(BANK, known(max_amount_fen=5), a_collection(amount=Money(6)))

    assert refusal.value.extra == {"channel": BANK, "limits": {"min_fen": 1, "max_fen": 5}}


@pytest.mark.parametrize("name", OBSTACLES)
def test_people_read_the_channels_name_in_their_language(name: str) -> None:
    offer, _, _ = OBSTACLES[name]

    with pytest.raises((WordedRefusal, WordedOutage)) as refusal:
        check_channel(BANK, known(name_en="Bank", **offer), a_collection())

    assert isinstance(refusal.value, WordedRefusal | WordedOutage)
    chinese, english = (refusal.value.wording.in_language(language) for language in Language)
    assert "银行代扣" in chinese
    assert "没有扣款" in chinese
    assert "Bank" in english
    assert "Nothing was charged" in english
    assert "{" not in chinese + english
