"""The loop tells a promise that passed: once, on real tables, and never behind the outcome."""

from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from services.payment.application.record_outcomes import Answered, record_outcomes
from services.payment.domain.channel_answer import (
    Answer,
    Succeeded,
    Unknown,
    UnknownCause,
)
from services.payment.domain.payment_attempt import Call
from services.payment.tests.bill import Bill
from services.payment.tests.building import (
    CASHIER,
    OTHER_CASHIER,
)
from services.payment.tests.fake_cashier import FakeCashier
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.world import World, asked_again
from shared.kernel.clock import SHANGHAI
from shared.kernel.events import Message, PaymentDelayed
from shared.kernel.money import Money

NO_ANSWER = Unknown(UnknownCause.TIMEOUT)
MINUTE = timedelta(minutes=1)
PROMISED = timedelta(minutes=15)


async def a_silent_order(world: World, bank: FakeChannel) -> UUID:
    """Its debit was sent at noon in China, and the channel answers nothing from then on."""
    advance_to_noon(world)
    order_id = await world.open()
    bank.inject("timeout_after_booking")
    bank.inject("error_500", on=Call.QUERY, count=10_000)
    await world.run()
    return order_id


def advance_to_noon(world: World) -> None:
    """So that the night is far, whenever the test runs."""
    now = world.clock.now()
    noon = now.astimezone(SHANGHAI).replace(hour=12, minute=0, second=0)
    world.clock.advance(noon - now if now <= noon else noon + timedelta(days=1) - now)


async def delays(world: World) -> list[Message[PaymentDelayed]]:
    told = [each for each in await world.told() if isinstance(each.body, PaymentDelayed)]
    return cast(list[Message[PaymentDelayed]], told)


async def test_a_quarter_of_an_hour_of_silence_tells_the_person_of_the_next_promise(
    world: World, bank: FakeChannel
) -> None:
    order_id = await a_silent_order(world, bank)
    unknown_since = world.clock.now()

    world.clock.advance(PROMISED - timedelta(seconds=1))
    await world.run()
    early = await delays(world)
    world.clock.advance(timedelta(seconds=1))
    await world.run()
    world.clock.advance(timedelta(minutes=30))
    await world.run()

    order, attempt = await world.order(order_id), await world.attempt(order_id)
    (told,) = await delays(world)
    assert early == []
    assert told.envelope.subject == told.body.payment_order_id == order_id
    assert told.envelope.sequence == order["version"]
    assert told.body.attempt_id == attempt["id"]
    assert told.body.amount_fen == order["amount_fen"]
    assert told.body.next_update_by == unknown_since + timedelta(hours=2)
    assert order["status"] == "REQUESTED"


async def test_every_promise_of_a_silent_day_is_followed_by_one_message(
    world: World, bank: FakeChannel
) -> None:
    await a_silent_order(world, bank)
    since = world.clock.now()

    await world.run_to_the_end()

    told = await delays(world)
    assert [hours(m.body.next_update_by, since) for m in told] == [2, 4, 8, 24, 48, 72, 96]
    assert len({m.envelope.event_id for m in told}) == len(told)


def hours(instant: datetime, since: datetime) -> float:
    return (instant - since) / timedelta(hours=1)


async def test_a_worker_that_was_down_over_several_promises_tells_one(
    world: World, bank: FakeChannel
) -> None:
    await a_silent_order(world, bank)
    since = world.clock.now()

    world.clock.advance(timedelta(hours=9))
    await world.run()

    assert [hours(m.body.next_update_by, since) for m in await delays(world)] == [24]


async def test_the_outcome_comes_behind_the_delay_and_the_delay_is_not_repeated(
    world: World, bank: FakeChannel
) -> None:
    request = world.a_request()
    await world.tell(request)
    bank.inject("timeout_after_booking")
    bank.inject("error_500", on=Call.QUERY, count=1)
    await world.run()
    world.clock.advance(PROMISED)
    await world.run()
    world.clock.advance(MINUTE)
    await world.run()

    await world.tell(asked_again(request, sequence=2))

    told = await world.told()
    assert [m.envelope.type for m in told] == ["PaymentDelayed", "PaymentSettled"]
    assert told[0].envelope.sequence < told[1].envelope.sequence
    resent = await world.rows("SELECT id FROM outbox WHERE resend_at IS NOT NULL")
    assert len(resent) == 1


async def test_a_cashiers_payer_is_told_too_also_when_the_time_to_pay_is_over(
    world: World, alipay: FakeCashier
) -> None:
    advance_to_noon(world)
    bill = Bill(world=world)
    order_id = await bill.request(CASHIER.id)
    await bill.begin(CASHIER.id)
    alipay.inject("unknown", on=Call.QUERY, count=10_000)
    world.clock.advance(MINUTE)
    await world.run()
    since = world.clock.now()

    for _ in range(4):
        world.clock.advance(timedelta(minutes=15))
        await world.run()

    (told,) = await delays(world)
    assert told.body.payment_order_id == order_id
    assert told.body.channel == CASHIER.id
    assert hours(told.body.next_update_by, since) == 2


async def test_where_another_attempt_settles_the_order_no_delay_is_told(
    world: World,
) -> None:
    """Both answers are recorded in one transaction: first the silence, then the money."""
    order_id, attempts = await two_overdue_attempts(world)
    amount = Money((await world.order(order_id))["amount_fen"])
    money = Succeeded("T1", amount, world.clock.now())

    await hear_together(world, order_id, dict(zip(attempts, (NO_ANSWER, money), strict=True)))

    assert await world.told_types() == ["PaymentSettled"]


async def test_two_silent_attempts_of_an_order_that_are_asked_together_tell_one_delay(
    world: World,
) -> None:
    order_id, attempts = await two_overdue_attempts(world)

    await hear_together(world, order_id, dict.fromkeys(attempts, NO_ANSWER))

    assert await world.told_types() == ["PaymentDelayed"]


async def two_overdue_attempts(world: World) -> tuple[UUID, list[UUID]]:
    """An order whose payer tried two cashiers; the promise of both passes now."""
    bill = Bill(world=world)
    order_id = await bill.request(CASHIER.id)
    begun = [await bill.begin(channel) for channel in (CASHIER.id, OTHER_CASHIER.id)]
    await world.rows_changed(
        "UPDATE payment_attempt SET status = 'UNKNOWN', unknown_since = :since,"
        " promised_until = :now WHERE order_id = :id",
        id=order_id,
        since=world.clock.now() - PROMISED,
        now=world.clock.now(),
    )
    return order_id, [id for id in begun if id is not None]


async def hear_together(world: World, order_id: UUID, answers: dict[UUID, Answer]) -> None:
    """Record these answers to queries in one transaction."""
    now = world.clock.now()
    answered = [
        Answered(
            order_id=order_id,
            attempt_id=attempt_id,
            lease=None,
            call=Call.QUERY,
            answer=answer,
            asked_at=now,
        )
        for attempt_id, answer in answers.items()
    ]
    async with world.transactions() as unit:
        await record_outcomes(unit, answered, channels=world.channels, now=now)
