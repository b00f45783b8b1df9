"""First attempts are called as soon as they are committed, without being claimed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.payment.application.ports import Unit
from services.payment.application.run_attempts import AttemptRunner
from services.payment.domain.debit_window import debit_window
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.world import QUICK, World
from shared.kernel.leased_calls import Limits
from testing.eventually import eventually

BRIEF = Limits(concurrent_calls=20, call_timeout_seconds=0.1, lease_seconds=0.5)


@asynccontextmanager
async def _nothing_is_claimed() -> AsyncIterator[Unit]:
    raise AssertionError("due rows were looked for")
    yield


class Died(Exception):
    pass


@pytest.fixture
def runner(world: World) -> AttemptRunner:
    """The runner to which the world's reactions hand first calls."""
    runner = world.a_runner(limits=BRIEF)
    world.react(first_calls=runner)
    return runner


def with_three_places(world: World, **changes: Any) -> AttemptRunner:
    """The same with room for three calls at a time."""
    runner = world.a_runner(limits=replace(QUICK, concurrent_calls=3), **changes)
    world.react(first_calls=runner)
    return runner


async def test_an_attempt_is_called_and_recorded_without_a_claim(
    world: World, bank: FakeChannel
) -> None:
    runner = world.a_runner(claims=_nothing_is_claimed)
    runner.calls._claimed_at = asyncio.get_running_loop().time() + 60
    world.react(first_calls=runner)

    orders = await world.open_many(5)
    await runner.step()

    rows = await world.rows("SELECT * FROM payment_attempt")
    assert [row["status"] for row in rows] == ["SUCCEEDED"] * 5
    assert {row["send_count"] for row in rows} == {1}
    assert {row["lease_owner"] for row in rows} == {None}
    assert all(row["first_sent_at"] == world.clock.now() for row in rows)
    assert bank.charged == {row["id"].hex: 1 for row in rows}
    assert len(await world.told()) == len(orders)


async def test_a_transaction_that_rolls_back_calls_nobody_and_gives_its_room_back(
    world: World, runner: AttemptRunner, bank: FakeChannel
) -> None:
    for _ in range(2):
        requests = [world.a_request() for _ in range(BRIEF.concurrent_calls)]
        with suppress(Died):
            async with world.database.transaction() as unit:
                await world.consumer.reactions[type(requests[0].body)](unit, requests)
                raise Died
        await asyncio.sleep(0)

    assert bank.calls == []
    await world.open_many(BRIEF.concurrent_calls)
    await world.run(runner)
    assert bank.sends.total() == BRIEF.concurrent_calls


async def test_a_part_that_rolls_back_calls_nobody(
    world: World, runner: AttemptRunner, bank: FakeChannel
) -> None:
    """As the half of a batch that contains poison does."""
    lost, kept = world.a_request(), world.a_request()
    react = world.consumer.reactions[type(lost.body)]

    async with world.database.transaction() as unit:
        with suppress(Died):
            async with unit.savepoint():
                await react(unit, [lost])
                raise Died
        async with unit.savepoint():
            await react(unit, [kept])
    await world.run(runner)

    (attempt,) = await world.rows("SELECT * FROM payment_attempt")
    assert attempt["order_id"] == kept.body.payment_order_id
    assert bank.charged == {attempt["id"].hex: 1}


async def test_what_has_no_room_waits_for_the_loop_and_the_limit_holds(
    world: World, bank: FakeChannel
) -> None:
    runner = with_three_places(world)
    bank.gate = asyncio.Event()

    await world.open_many(2)
    await world.open_many(8)
    await runner.step()
    bank.gate.set()
    await world.run(runner)

    rows = await world.rows("SELECT * FROM payment_attempt")
    assert [row["status"] for row in rows] == ["SUCCEEDED"] * 10
    assert bank.charged == {row["id"].hex: 1 for row in rows}
    assert bank.most_in_flight == 3


async def test_who_waits_for_room_comes_before_who_is_opened_later(
    world: World, bank: FakeChannel
) -> None:
    runner = with_three_places(world)
    bank.gate = asyncio.Event()

    earlier = await world.open_many(8)
    bank.gate.set()
    await runner.step()
    later = await world.open_many(1)

    rows = await world.rows("SELECT order_id, send_count FROM payment_attempt")
    sent = {row["order_id"]: row["send_count"] for row in rows}
    assert sent[later[0]] == 0
    assert sum(sent[order_id] for order_id in earlier) < 8
    await world.run(runner)
    at_once = await world.open()
    assert (await world.attempt(at_once))["send_count"] == 1


@pytest.mark.parametrize(("opened", "looks"), [(2, 0), (8, 1)])
async def test_the_loop_rests_only_while_nobody_waits_for_room(
    world: World, opened: int, looks: int
) -> None:
    looked: list[float] = []

    @asynccontextmanager
    async def counted() -> AsyncIterator[Unit]:
        looked.append(asyncio.get_running_loop().time())
        async with world.transactions() as unit:
            yield unit

    runner = with_three_places(world, claims=counted)
    runner.calls._claimed_at = asyncio.get_running_loop().time() + 60

    await world.open_many(opened)
    await eventually(lambda: not runner.calls.under_way)
    await runner.step()

    assert len(looked) == looks


async def test_the_same_request_again_calls_once(
    world: World, runner: AttemptRunner, bank: FakeChannel
) -> None:
    request = world.a_request()

    await world.tell(request, request)
    await world.run(runner)
    await world.tell(request)
    await world.run(runner)

    attempt = await world.attempt(request.body.payment_order_id)
    assert bank.charged == {attempt["id"].hex: 1}
    assert bank.sends.total() == 1


async def test_an_account_is_not_debited_before_its_time(
    world: World, runner: AttemptRunner, bank: FakeChannel
) -> None:
    window = debit_window(notice=timedelta(hours=1), hours="00:00-24:00")
    bank.capabilities = replace(bank.capabilities, debit_window=window)
    world.react(first_calls=runner)

    await world.open(expires_at=world.clock.now() + timedelta(days=3))
    await world.run(runner)

    assert bank.calls == []


async def test_a_process_that_ends_waits_for_what_is_being_opened(
    world: World, runner: AttemptRunner, bank: FakeChannel
) -> None:
    request = world.a_request()

    async with world.database.transaction() as unit:
        await world.consumer.reactions[type(request.body)](unit, [request])
        draining = asyncio.create_task(runner.drain())
        await asyncio.sleep(0.05)
        assert not draining.done()
    await draining

    assert (await world.order(request.body.payment_order_id))["status"] == "SETTLED"
    later = await world.open()
    await asyncio.sleep(0.02)
    assert (await world.attempt(later))["send_count"] == 0
    assert bank.sends.total() == 1
