"""The loop over due attempts: sends, queries, crashes, zombies and several workers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import count
from uuid import uuid4

import pytest

from services.payment.adapters.postgres.unit import statements_of
from services.payment.application.ports import DueAttempt, Transactions, Unit
from services.payment.application.run_attempts import AttemptRunner
from services.payment.domain.channel_answer import Succeeded
from services.payment.domain.payment_attempt import Call
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.world import QUICK, World
from shared.kernel.errors import Unavailable
from shared.kernel.leased_calls import Limits, Reservation
from shared.kernel.money import Money
from testing.eventually import eventually

BRIEF = Limits(concurrent_calls=20, call_timeout_seconds=0.05, lease_seconds=0.3)


async def statuses(world: World, table: str = "payment_order") -> Counter[str]:
    rows = await world.rows(f"SELECT status FROM {table}")
    return Counter(row["status"] for row in rows)


async def test_an_order_is_charged_once_and_settled(world: World, bank: FakeChannel) -> None:
    order_id = await world.open()

    await world.run()

    order, attempt = await world.order(order_id), await world.attempt(order_id)
    assert order["status"] == "SETTLED"
    assert order["attempt_id"] == attempt["id"]
    assert attempt["status"] == "SUCCEEDED"
    assert attempt["send_count"] == 1
    assert attempt["lease_owner"] is None
    assert bank.charged == {attempt["id"].hex: 1}
    (settled,) = await world.told()
    assert settled.envelope.type == "PaymentSettled"
    assert settled.envelope.sequence == order["version"] == 2


async def test_a_claim_has_no_end_that_anything_could_wait_for(world: World) -> None:
    waits_for_an_end = {"emit", "repeat", "open_items", "at_end"}

    async with statements_of(world.database)() as unit:
        assert not waits_for_an_end & set(dir(unit))


async def test_a_charge_that_times_out_is_unknown_until_a_query_tells_the_truth(
    world: World, bank: FakeChannel
) -> None:
    order_id = await world.open()
    bank.inject("timeout_after_booking")

    await world.run()
    unknown = await world.order(order_id), await world.attempt(order_id)
    world.clock.advance(timedelta(seconds=1))
    await world.run()

    assert [row["status"] for row in unknown] == ["REQUESTED", "UNKNOWN"]
    assert (await world.order(order_id))["status"] == "SETTLED"
    assert bank.sends.total() == bank.queries.total() == 1
    assert await world.told_types() == ["PaymentSettled"]


async def test_a_channel_that_hangs_is_left_at_the_deadline(
    world: World, bank: FakeChannel
) -> None:
    order_id = await world.open()
    bank.inject("hang_after_booking")
    runner = world.a_runner(limits=BRIEF)

    await world.run(runner)

    assert (await world.attempt(order_id))["status"] == "UNKNOWN"
    assert (await world.order(order_id))["status"] == "REQUESTED"


async def test_a_send_that_never_arrived_is_sent_again_after_a_query(
    world: World, bank: FakeChannel
) -> None:
    order_id = await world.open()
    bank.inject("timeout_before_booking", count=2)

    await world.run_to_the_end()

    attempt = await world.attempt(order_id)
    calls = [call for call, _ in bank.calls]
    assert calls == [Call.START, Call.QUERY, Call.START, Call.QUERY, Call.START]
    assert attempt["send_count"] == 3
    assert bank.charged == {attempt["id"].hex: 1}
    assert (await world.order(order_id))["status"] == "SETTLED"


async def test_a_decline_fails_the_order_with_the_channels_reason(
    world: World, bank: FakeChannel
) -> None:
    order_id = await world.open()
    bank.inject("decline")

    await world.run_to_the_end()

    assert (await world.order(order_id))["reason"] == "insufficient_funds"
    (failed,) = await world.told()
    assert failed.envelope.type == "PaymentFailed"
    assert failed.body.can_retry is True  # type: ignore[attr-defined]


async def test_a_channel_that_is_dark_for_the_whole_time_closes_the_order_as_expired(
    world: World, bank: FakeChannel
) -> None:
    order_id = await world.open()
    opened_at = world.clock.now()
    bank.inject("timeout_before_booking", count=10_000)
    bank.inject("error_500", on=Call.QUERY, count=5)

    await world.run_to_the_end()

    order, attempt = await world.order(order_id), await world.attempt(order_id)
    assert (order["status"], order["reason"]) == ("FAILED", "expired")
    assert attempt["status"] == "CLOSED"
    assert attempt["not_there_count"] == 2
    assert attempt["last_not_there_at"] >= opened_at + timedelta(minutes=36)
    assert bank.charged.total() == 0


async def test_a_channel_without_any_answer_stays_unknown_and_calls_a_person_after_a_day(
    world: World, bank: FakeChannel
) -> None:
    order_id = await world.open()
    bank.inject("timeout_after_booking")
    bank.inject("error_500", on=Call.QUERY, count=10_000)

    await world.run_to_the_end()

    assert (await world.order(order_id))["status"] == "REQUESTED"
    attempt = await world.attempt(order_id)
    assert attempt["status"] == "UNKNOWN"
    assert 280 < bank.queries.total() < 400
    assert await world.items() == ["outcome_unknown"]
    assert set(await world.told_types()) == {"PaymentDelayed"}


async def test_a_wrong_amount_is_confirmed_kept_apart_and_refunded(
    world: World, bank: FakeChannel
) -> None:
    bank.take_instead = Money(1)
    order_id = await world.open()

    await world.run_to_the_end()

    order, attempt = await world.order(order_id), await world.attempt(order_id)
    assert (order["status"], order["reason"]) == ("FAILED", "wrong_amount")
    assert (attempt["status"], attempt["received_fen"]) == ("SUCCEEDED", 1)
    assert bank.queries.total() == 1
    (refund,) = await world.rows("SELECT * FROM refund")
    assert (refund["amount_fen"], refund["status"]) == (1, "REQUESTED")
    assert await world.items() == ["refund_due", "wrong_amount"]
    assert await world.told_types() == ["PaymentFailed"]


async def test_time_that_ran_out_before_the_first_send_sends_nothing(
    world: World, bank: FakeChannel
) -> None:
    order_id = await world.open()
    world.clock.advance(timedelta(minutes=30))

    await world.run()

    assert bank.calls == []
    assert (await world.attempt(order_id))["status"] == "CLOSED"
    assert (await world.order(order_id))["reason"] == "expired"


async def claim_and_crash(world: World, *, lease_seconds: float) -> None:
    """A worker that dies between the commit of its lease and the call."""
    async with world.transactions() as unit:
        claimed = await unit.attempts.claim(
            now=world.clock.now(),
            limit=10,
            lease=uuid4(),
            lease_time=timedelta(seconds=lease_seconds),
        )
    assert claimed


@dataclass(frozen=True)
class DiesAfterTheCommit:
    """A runner that has its leases committed with the opening, and calls nobody."""

    runner: AttemptRunner

    def reserve(self, count: int) -> Reservation[DueAttempt] | None:
        reserved = self.runner.reserve(count)
        return replace(reserved, end=lambda attempts: None) if reserved else None


@pytest.mark.parametrize("leased_by", ["a claim", "the opening"])
async def test_after_a_crash_before_the_call_the_next_worker_asks_before_it_sends(
    world: World, bank: FakeChannel, leased_by: str
) -> None:
    if leased_by == "the opening":
        world.react(first_calls=DiesAfterTheCommit(world.a_runner(limits=BRIEF)))
    order_id = await world.open()
    if leased_by == "a claim":
        await claim_and_crash(world, lease_seconds=0.3)

    during_the_lease = await world.runner.step()
    await eventually(world.runner.step)
    await world.run()

    assert during_the_lease == 0
    assert [call for call, _ in bank.calls] == [Call.QUERY, Call.START]
    attempt = await world.attempt(order_id)
    assert attempt["send_count"] == 2
    assert bank.charged == {attempt["id"].hex: 1}
    assert (await world.order(order_id))["status"] == "SETTLED"


async def test_after_a_crash_behind_the_call_the_charge_is_found_and_not_repeated(
    world: World, bank: FakeChannel
) -> None:
    order_id = await world.open()
    attempt = await world.attempt(order_id)
    await claim_and_crash(world, lease_seconds=0.1)
    amount = Money(attempt["amount_fen"])
    bank.book[attempt["id"].hex] = Succeeded("T9", amount, world.clock.now())

    await eventually(world.runner.step)
    await world.run()

    assert [call for call, _ in bank.calls] == [Call.QUERY]
    assert (await world.order(order_id))["channel_trade_no"] == "T9"


async def test_two_workers_never_send_an_attempt_twice(world: World, bank: FakeChannel) -> None:
    order_ids = await world.open_many(200)

    # Leases that no busy machine sleeps through.
    runners = [world.a_runner(limits=Limits()) for _ in range(3)]
    await asyncio.gather(*(world.run(runner) for runner in runners))

    assert set(bank.sends.values()) == {1}
    assert bank.charged.total() == len(order_ids)
    assert await statuses(world) == {"SETTLED": 200}
    assert await world.told_types() == ["PaymentSettled"] * 200


async def test_what_one_worker_holds_no_other_asks_about(world: World, bank: FakeChannel) -> None:
    await world.open_many(5)
    bank.gate = asyncio.Event()
    holder = world.a_runner(limits=Limits(call_timeout_seconds=20.0, lease_seconds=60.0))
    await holder.step()

    taken_count = await world.a_runner().step()

    assert taken_count == 0
    assert len(bank.calls) == 5
    bank.gate.set()
    await holder.drain()
    assert await statuses(world) == {"SETTLED": 5}


async def test_no_more_calls_at_once_than_allowed(world: World, bank: FakeChannel) -> None:
    await world.open_many(50)
    bank.gate = asyncio.Event()
    runner = world.a_runner(limits=replace(QUICK, concurrent_calls=7))
    running = asyncio.create_task(world.run(runner))
    await eventually(lambda: bank.in_flight == 7)

    bank.gate.set()
    await running

    assert bank.most_in_flight == 7
    assert await statuses(world) == {"SETTLED": 50}


async def test_a_zombie_whose_lease_ran_out_overwrites_nothing(
    world: World, bank: FakeChannel
) -> None:
    order_id = await world.open()
    liar = FakeChannel(clock=world.clock, gate=asyncio.Event())
    liar.inject("decline")
    zombie = world.a_runner(channels={liar.capabilities.id: liar})
    await zombie.step()
    await world.rows_changed("UPDATE payment_attempt SET lease_until = now() - interval '1 second'")
    await world.run()
    settled = await world.business_state()

    assert liar.gate is not None
    liar.gate.set()
    await zombie.drain()

    assert (await world.order(order_id))["status"] == "SETTLED"
    assert await world.business_state() == settled
    assert await world.items() == []
    assert bank.charged.total() == 1


async def test_answers_survive_a_database_that_was_away(world: World, bank: FakeChannel) -> None:
    order_id = await world.open()
    flaky = Flaky(world.transactions, failures=[1, 2])
    runner = world.a_runner(transactions=flaky)

    for _ in range(2):
        with pytest.raises(Unavailable):
            await runner.step()
    await world.run(runner)

    assert (await world.order(order_id))["status"] == "SETTLED"
    assert bank.sends.total() == 1
    assert bank.queries.total() == 0


@dataclass
class Flaky:
    """Transactions of which the n-th ones cannot commit."""

    real: Transactions
    failures: list[int]
    count: int = 0

    def __call__(self) -> AbstractAsyncContextManager[Unit]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Unit]:
        self.count += 1
        async with self.real() as unit:
            yield unit
            if self.count in self.failures:
                raise Unavailable("database_away", "no COMMIT")


async def test_an_answer_that_cannot_be_stored_holds_up_no_other(
    world: World, bank: FakeChannel
) -> None:
    order_ids = await world.open_many(5)
    broken = (await world.attempt(order_ids[2]))["id"].hex
    # PostgreSQL stores no NUL in a text; a real adapter refuses it long before.
    bank.book[broken] = Succeeded("\x00", Money(150_920), world.clock.now())

    await world.run()

    assert await statuses(world) == {"SETTLED": 4, "REQUESTED": 1}
    assert bank.sends.total() == 5


async def test_a_channel_that_is_no_longer_configured_leaves_its_attempts_unknown(
    world: World,
) -> None:
    order_id = await world.open()
    runner = world.a_runner(channels={})

    await world.run(runner)

    assert (await world.order(order_id))["status"] == "REQUESTED"
    assert (await world.attempt(order_id))["status"] == "UNKNOWN"


async def test_before_the_end_calls_under_way_are_recorded(world: World, bank: FakeChannel) -> None:
    order_id = await world.open()
    bank.gate = asyncio.Event()
    runner = world.a_runner()
    await runner.step()
    bank.gate.set()

    await runner.drain()

    assert (await world.order(order_id))["status"] == "SETTLED"


async def test_a_worker_that_slept_through_its_lease_does_not_send(
    world: World, bank: FakeChannel
) -> None:
    order_id = await world.open()
    runner = world.a_runner()
    # Claims, and then is stopped for longer than the lease lasts.
    runner.calls.monotonic = partial(next, count(step=60.0))

    await world.run(runner)

    assert bank.calls == []
    assert (await world.attempt(order_id))["status"] == "UNKNOWN"


def test_a_lease_that_a_call_could_outlive_is_refused() -> None:
    with pytest.raises(ValueError):
        Limits(call_timeout_seconds=11, lease_seconds=30)
