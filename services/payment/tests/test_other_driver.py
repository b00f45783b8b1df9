"""The same statements on psycopg, for sites behind PgBouncer."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest_asyncio

from services.payment.adapters.postgres.views import find_order, read_changed
from services.payment.domain.channel_answer import Succeeded
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.world import World, asked_again, some_clock
from shared.kernel.money import Money
from shared.runtime.database.database import Database, open_database
from testing.builders import message, money_accepted, money_rejected


@pytest_asyncio.fixture
async def psycopg_database(service_database: Callable[[str], str]) -> AsyncIterator[Database]:
    url = service_database("payment").replace("+asyncpg", "+psycopg")
    database = open_database(url, source="payment", pool_size=3)
    yield database
    await database.close()


async def test_every_statement_of_payment_runs_on_psycopg(psycopg_database: Database) -> None:
    clock = some_clock()
    bank = FakeChannel(clock=clock)
    world = World(database=psycopg_database, channel=bank, clock=clock)
    requests = [world.a_request() for _ in range(4)]
    bank.inject("timeout_after_booking")
    bank.inject("decline")

    await world.tell_together(requests)
    await world.run_to_the_end()
    await world.tell_together([asked_again(request, sequence=2) for request in requests])
    orders = await world.rows("SELECT id, status, payer_id FROM payment_order ORDER BY status")

    assert [order["status"] for order in orders] == ["FAILED", "SETTLED", "SETTLED", "SETTLED"]
    assert len(await world.told()) == 4
    late = orders[0]["id"]
    attempt_id = (await world.attempt(late))["id"]
    await world.hear(attempt_id, late, Succeeded("T7", Money(150_920), clock.now()))
    clock.advance(timedelta(seconds=30))
    assert await world.repeat_unexpected_money() == 1
    decision = {"payment_order_id": late, "attempt_id": attempt_id}
    await world.tell(message(money_accepted(**decision)))
    assert (await world.order(late))["status"] == "SETTLED"

    found = await find_order(psycopg_database, late, person_id=orders[0]["payer_id"])
    assert found is not None
    assert len(found.attempts) == 1
    assert len(await read_changed(psycopg_database, {order["id"]: 0 for order in orders})) == 4


async def test_a_refund_and_an_expired_order_on_psycopg(psycopg_database: Database) -> None:
    clock = some_clock()
    bank = FakeChannel(clock=clock)
    world = World(database=psycopg_database, channel=bank, clock=clock)
    await world.empty()
    bank.inject("decline")
    order_id = await world.open()
    await world.run()
    attempt_id = (await world.attempt(order_id))["id"]
    await world.hear(attempt_id, order_id, Succeeded("T8", Money(150_920), clock.now()))
    decision = {"payment_order_id": order_id, "attempt_id": attempt_id}
    await world.tell(message(money_rejected(**decision)))
    other = await world.open()
    await world.rows_changed("DELETE FROM payment_attempt WHERE order_id = :id", id=other)
    clock.advance(timedelta(hours=1))

    await world.run_to_the_end()

    assert len((await world.business_state())["refund"]) == 1
    assert (await world.order(other))["reason"] == "expired"
