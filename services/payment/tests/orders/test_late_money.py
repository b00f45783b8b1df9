"""Money that comes after an attempt ended is asked for during a day: it needs no notification.

First which ends are asked about and when, then the loop on real tables.
"""

import asyncio
import dataclasses
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from services.payment.adapters.postgres.attempts import CLAIM_ENDED
from services.payment.domain.channel_answer import (
    Answer,
    AwaitingPayer,
    Closed,
    Declined,
    NeverSent,
    Unknown,
    UnknownCause,
)
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.outcome import decide
from services.payment.domain.payment_attempt import AttemptStatus, Call, PaymentAttempt
from services.payment.domain.query_schedule import LATE_ASKS, LATE_ASKS_LIMIT
from services.payment.tests.bill import Bill
from services.payment.tests.building import BANK, CASHIER, an_attempt, an_order, asked, paid
from services.payment.tests.fake_cashier import FakeCashier
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.world import QUICK, World
from shared.kernel.ids import new_id
from shared.runtime.database.statements import text
from testing.builders import SOME_TIME

CLOSED = Closed()
DECLINED = Declined(FailureReason.REJECTED)
NO_ANSWER = Unknown(UnknownCause.TIMEOUT)
HOUR = timedelta(hours=1)


def an_end(answer: Answer = CLOSED, **fields: Any) -> PaymentAttempt:
    """A cashier's attempt that ended at SOME_TIME; with `method=None` one of a direct channel."""
    order = an_order()
    attempt = an_attempt(order, **{"method": "wap"} | fields)
    asking = replace(asked(after=timedelta(0)), channel=CASHIER if attempt.method else BANK)
    return decide(order, attempt, answer, asking).attempt


def asks(attempt: PaymentAttempt, answer: Answer) -> list[datetime]:
    """When it is asked if the channel always answers the same; ends by itself."""
    order, due = an_order(), []
    while attempt.due_at is not None:
        due.append(attempt.due_at)
        asking = replace(asked(after=attempt.due_at - SOME_TIME), channel=CASHIER)
        attempt = decide(order, attempt, answer, asking).attempt
    return due


@pytest.mark.parametrize("answer", [CLOSED, AwaitingPayer(), DECLINED])
def test_what_ended_without_money_is_asked_about_ever_more_slowly_for_a_day(answer: Answer) -> None:
    attempt = an_end()

    times = asks(attempt, answer)

    assert times == [SOME_TIME + age for age in LATE_ASKS]
    assert LATE_ASKS[-1] == timedelta(hours=24)


@pytest.mark.parametrize(
    ("attempt", "is_asked"),
    [
        (an_end(CLOSED), True),
        (an_end(DECLINED), True),
        (an_end(CLOSED, method=None), True),
        (an_end(DECLINED, method=None), False),
        (an_end(NeverSent(), method=None, send_count=0, first_sent_at=None), False),
        (an_end(paid()), False),
    ],
    ids=["closed", "declined", "closed debit", "refused debit", "never sent", "paid"],
)
def test_only_an_end_that_excludes_no_money_is_asked_about(
    attempt: PaymentAttempt, is_asked: bool
) -> None:
    assert not attempt.is_open
    assert (attempt.due_at is not None) is is_asked


def test_the_last_ask_waits_for_an_answer_until_the_next_bill_is_out() -> None:
    attempt = an_end()

    times = asks(attempt, NO_ANSWER)

    day = SOME_TIME + LATE_ASKS[-1]
    assert times[len(LATE_ASKS) :] == [day + hours * HOUR for hours in range(1, 25)]
    assert times[-1] == SOME_TIME + LATE_ASKS_LIMIT


def test_asks_that_nobody_made_in_time_are_made_once() -> None:
    attempt = an_end()
    late = replace(asked(after=timedelta(hours=7)), channel=CASHIER)

    again = decide(an_order(), attempt, CLOSED, late).attempt

    assert again.due_at == SOME_TIME + timedelta(hours=12)


@pytest.mark.parametrize("call", [Call.NOTIFICATION, Call.CLOSE])
def test_only_a_query_takes_the_place_of_a_late_ask(call: Call) -> None:
    attempt = an_end()
    order = an_order()

    outcome = decide(order, attempt, CLOSED, replace(asked(call, after=HOUR), channel=CASHIER))

    assert (outcome.order, outcome.attempt) == (order, attempt)


def test_late_money_ends_the_asking_and_is_offered_to_billing() -> None:
    order = an_order()
    attempt = an_end()
    failed = decide(order, an_attempt(order), DECLINED, asked()).order

    outcome = decide(failed, attempt, paid(), replace(asked(after=HOUR), channel=CASHIER))

    assert outcome.attempt.status is AttemptStatus.SUCCEEDED
    assert outcome.attempt.unexpected_sequence == 1
    assert outcome.order == replace(failed, version=failed.version + 1)


async def a_closed_attempt(world: World) -> tuple[Bill, UUID]:
    """A bill whose payer began at Alipay and gave up; the channel confirmed the close."""
    bill = Bill(world=world)
    await bill.request(CASHIER.id)
    attempt_id = await bill.begin(CASHIER.id)
    assert attempt_id is not None
    await bill.give_up(attempt_id)
    (attempt,) = await bill.attempt_rows()
    assert attempt["status"] == "CLOSED"
    return bill, attempt_id


async def test_money_taken_after_a_confirmed_close_pays_the_open_order_without_a_notification(
    world: World, alipay: FakeCashier
) -> None:
    bill, attempt_id = await a_closed_attempt(world)
    alipay.pay(attempt_id.hex)

    world.clock.advance(LATE_ASKS[0])
    await world.run()

    (order,) = await bill.order_rows()
    assert (order["status"], order["attempt_id"]) == ("SETTLED", attempt_id)
    assert await world.told_types() == ["PaymentSettled"]


@pytest.mark.parametrize("age", [timedelta(minutes=45), timedelta(hours=11), timedelta(hours=23)])
async def test_money_taken_hours_after_the_order_failed_is_found_and_decided(
    world: World, alipay: FakeCashier, age: timedelta
) -> None:
    bill, attempt_id = await a_closed_attempt(world)
    world.clock.advance(age)
    await world.run()
    await bill.expire()
    alipay.pay(attempt_id.hex)

    await bill.finish()

    (order,) = await bill.order_rows()
    assert order["failed_version"] is not None
    assert (order["status"], order["attempt_id"]) == ("SETTLED", attempt_id)
    assert await bill.broken_promises_at_rest() == []


async def test_a_cashier_that_waits_for_its_payer_again_is_closed_again(
    world: World, alipay: FakeCashier
) -> None:
    bill, attempt_id = await a_closed_attempt(world)
    alipay.book[attempt_id.hex] = AwaitingPayer()

    world.clock.advance(LATE_ASKS[0])
    await world.run()

    assert alipay.book[attempt_id.hex] == Closed()
    (attempt,) = await bill.attempt_rows()
    assert attempt["status"] == "CLOSED"


async def test_what_settled_is_never_asked_about_again(world: World, bank: FakeChannel) -> None:
    await world.open()
    await world.run()
    calls = list(bank.calls)

    world.clock.advance(LATE_ASKS[-1])
    await world.run_to_the_end()

    assert bank.calls == calls == [(Call.START, bank.calls[0][1])]


async def end_many(world: World, count: int) -> None:
    """Direct debits that are closed and due to be asked about."""
    for _ in range(count):
        await world.open(contribution_id=new_id())
    await world.rows_changed(
        "UPDATE payment_attempt SET status = 'CLOSED', next_call = 'query', send_count = 1,"
        " first_sent_at = created_at, ended_at = created_at, due_at = created_at"
    )


async def test_late_asks_are_few_at_a_time(world: World, bank: FakeChannel) -> None:
    await end_many(world, 6)
    runner = world.a_runner(asks_late=True, limits=dataclasses.replace(QUICK, concurrent_calls=2))

    await world.run(runner)

    assert bank.queries.total() == 6
    assert bank.most_in_flight == 2


async def test_two_workers_ask_late_once(world: World, bank: FakeChannel) -> None:
    await end_many(world, 10)
    workers = [world.a_runner(asks_late=True) for _ in range(2)]

    await asyncio.gather(*(world.run(worker) for worker in workers))

    assert set(bank.queries.values()) == {1}
    assert len(bank.queries) == 10


async def test_the_loop_for_those_who_wait_leaves_late_asks_alone(
    world: World, bank: FakeChannel
) -> None:
    await end_many(world, 1)

    await world.run(world.a_runner())

    assert bank.calls == []


async def test_late_asks_are_found_by_an_index_that_holds_nothing_else(world: World) -> None:
    async with world.database.transaction() as unit:
        await unit.connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = await unit.connection.execute(
            text(f"EXPLAIN {CLAIM_ENDED.text}"),
            {
                "now": world.clock.now(),
                "row_limit": 2,
                "lease": new_id(),
                "lease_time": timedelta(seconds=30),
            },
        )
        lines = "\n".join(row[0] for row in plan)

    assert "payment_attempt_late" in lines
