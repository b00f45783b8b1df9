"""One open order per contribution, and one contribution per person and month."""

import asyncio
from datetime import timedelta

import pytest

from services.billing.domain.contribution import Contribution, ContributionStatus
from services.billing.domain.payment_request import PaymentRequest
from services.billing.tests.builders import AMOUNT, FLOOR, NOW, ORDER_LIFETIME
from services.billing.tests.running_billing import Billing
from shared.kernel.errors import Refused, Unavailable
from shared.kernel.events import ContributionAssessed, PaymentRequested, PaymentSettled
from shared.kernel.ids import new_id
from shared.kernel.money import Money
from testing.builders import message, payment_failed, payment_settled

HIGHER = Money(800_000)


async def test_assessment_is_stored_and_told_once(billing: Billing) -> None:
    person_id = new_id()

    first, is_new = await billing.assess(person_id)
    second, is_new_again = await billing.assess(person_id)

    assert (is_new, is_new_again) == (True, False)
    assert second == first
    [told] = await billing.told(person_id)
    assert isinstance(told.body, ContributionAssessed)
    assert (told.envelope.subject, told.envelope.sequence) == (first.id, 1)
    assert (told.body.amount_fen, told.body.shares) == (AMOUNT.fen, first.shares)


async def test_another_base_supersedes_while_nothing_is_paid(billing: Billing) -> None:
    person_id = new_id()
    old, _ = await billing.assess(person_id)

    new, is_new = await billing.assess(person_id, base=HIGHER)

    assert is_new
    assert new.supersedes == old.id
    assert (await billing.contribution(old.id)).status is ContributionStatus.SUPERSEDED
    told = [event.body for event in await billing.told(person_id)]
    assert [getattr(body, "supersedes", "") for body in told] == [None, old.id]


async def test_another_base_is_refused_once_a_payment_is_under_way(billing: Billing) -> None:
    contribution, _ = await billing.requested()

    with pytest.raises(Refused) as refusal:
        await billing.assess(contribution.insured_person_id, base=HIGHER)

    assert (refusal.value.code, refusal.value.status) == ("contribution_locked", 409)
    assert refusal.value.extra["contribution_id"] == str(contribution.id)


async def test_same_base_again_is_answered_in_every_state(billing: Billing) -> None:
    contribution, request = await billing.requested()
    await billing.hear(message(payment_settled_by(contribution, request), sequence=2))

    same, is_new = await billing.assess(contribution.insured_person_id)

    assert (same.id, is_new) == (contribution.id, False)
    assert same.status is ContributionStatus.PAID


async def test_parallel_assessments_make_one_contribution(billing: Billing) -> None:
    person_id = new_id()

    answers = await asyncio.gather(*(billing.assess(person_id) for _ in range(20)))

    assert sum(is_new for _, is_new in answers) == 1
    assert len({contribution.id for contribution, _ in answers}) == 1
    assert len(await billing.told(person_id)) == 1


async def test_parallel_assessments_of_other_bases_leave_one_current(billing: Billing) -> None:
    person_id = new_id()
    bases = [Money(FLOOR.fen + 100 * number) for number in range(10)]

    await asyncio.gather(*(billing.assess(person_id, base=base) for base in bases))

    rows = await billing.rows(
        "SELECT status, supersedes FROM contribution WHERE insured_person_id = :person_id",
        person_id=person_id,
    )
    assert len(rows) == 10
    assert [row["status"] for row in rows].count("ASSESSED") == 1
    assert len({row["supersedes"] for row in rows}) == 10


async def test_payment_opens_one_order_and_tells_payment(billing: Billing) -> None:
    contribution, _ = await billing.assess(new_id())

    request = await billing.request(contribution)

    paying = await billing.contribution(contribution.id)
    assert paying.status is ContributionStatus.PAYMENT_PENDING
    assert paying.payment_order_id == request.payment_order_id
    told = (await billing.told(contribution.insured_person_id))[-1]
    assert isinstance(told.body, PaymentRequested)
    assert (told.envelope.subject, told.envelope.sequence) == (request.payment_order_id, 1)
    assert told.envelope.correlation_id == request.correlation_id
    assert told.body.expires_at == NOW + ORDER_LIFETIME
    assert (told.body.amount_fen, told.body.channel) == (AMOUNT.fen, "bank-direct-debit")


async def test_fifty_parallel_requests_make_one_open_order(billing: Billing) -> None:
    contribution, _ = await billing.assess(new_id())

    requests = await asyncio.gather(*(billing.request(contribution) for _ in range(50)))

    assert len({request.payment_order_id for request in requests}) == 1
    assert len(await billing.told(contribution.insured_person_id)) == 2


@pytest.mark.parametrize("channel", ["bank-direct-debit", None])
async def test_same_channel_or_none_gets_the_open_order(
    billing: Billing, channel: str | None
) -> None:
    contribution, request = await billing.requested()

    again = await billing.request(contribution, channel=channel)

    assert again == request


async def test_another_channel_is_refused_with_a_link_to_the_open_order(billing: Billing) -> None:
    contribution, request = await billing.requested()

    with pytest.raises(Refused) as refusal:
        await billing.request(contribution, channel="alipay")

    assert (refusal.value.code, refusal.value.status) == ("order_open", 409)
    assert refusal.value.extra["link"] == f"/payment/v1/orders/{request.payment_order_id}"


async def test_paid_contribution_is_not_paid_again(billing: Billing) -> None:
    contribution, request = await billing.requested()
    await billing.hear(message(payment_settled_by(contribution, request), sequence=2))

    with pytest.raises(Refused) as refusal:
        await billing.request(contribution)

    assert (refusal.value.code, refusal.value.status) == ("already_paid", 409)


async def test_failed_order_is_followed_by_a_new_one(billing: Billing) -> None:
    contribution, request = await billing.requested()
    failed = payment_failed(
        payment_order_id=request.payment_order_id,
        contribution_id=contribution.id,
        insured_person_id=contribution.insured_person_id,
        amount_fen=AMOUNT.fen,
        reason="expired",
    )
    await billing.hear(message(failed, sequence=2))

    second = await billing.request(contribution, channel="alipay")

    assert second.payment_order_id != request.payment_order_id
    latest = await billing.contribution(contribution.id)
    assert (latest.payment_order_id, latest.reason) == (second.payment_order_id, None)


async def test_superseded_contribution_points_to_the_one_that_replaced_it(
    billing: Billing,
) -> None:
    old, _ = await billing.assess(new_id())
    new, _ = await billing.assess(old.insured_person_id, base=HIGHER)

    with pytest.raises(Refused) as refusal:
        await billing.request(old)

    assert refusal.value.code == "contribution_superseded"
    assert refusal.value.extra["link"] == f"/billing/v1/contributions/{new.id}"


async def test_somebody_elses_contribution_is_not_found(billing: Billing) -> None:
    contribution, _ = await billing.assess(new_id())

    with pytest.raises(Refused) as refusal:
        await billing.request(contribution, payer_id=new_id())

    assert (refusal.value.code, refusal.value.status) == ("contribution_not_found", 404)


async def test_month_that_is_over_is_not_paid_any_more(billing: Billing) -> None:
    contribution, _ = await billing.assess(new_id())

    with pytest.raises(Refused) as refusal:
        await billing.request(contribution, now=NOW + timedelta(days=10))

    assert refusal.value.code == "period_not_allowed"


async def test_new_payments_wait_while_the_outbox_is_stuck(billing: Billing) -> None:
    await billing.execute("DELETE FROM outbox_queue")
    contribution, _ = await billing.assess(new_id())
    with_order, request = await billing.requested()
    await billing.execute("UPDATE outbox_queue SET created_at = created_at - interval '3 minutes'")

    try:
        with pytest.raises(Unavailable) as refusal:
            await billing.request(contribution)
        again = await billing.request(with_order)
    finally:
        await billing.execute("DELETE FROM outbox_queue")

    assert (refusal.value.code, refusal.value.retry_after_seconds) == ("busy", 30)
    assert again == request


def payment_settled_by(contribution: Contribution, request: PaymentRequest) -> PaymentSettled:
    return payment_settled(
        payment_order_id=request.payment_order_id,
        contribution_id=contribution.id,
        insured_person_id=contribution.insured_person_id,
        amount_fen=contribution.amount.fen,
    )
