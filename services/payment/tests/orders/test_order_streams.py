"""Live status over a real socket: tickets, versions, limits, and every way a stream ends."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from uuid import UUID

import httpx2
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from services.payment.adapters.postgres.views import OrderView
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.running_payment import Payment, running_payment
from services.payment.tests.world import World
from shared.kernel.ids import new_id
from testing.eventually import eventually


@pytest_asyncio.fixture
async def payment(world: World, redis_url: str) -> AsyncIterator[Payment]:
    limits = {"payment_streams_max": 3, "payment_streams_per_person_max": 2}
    async with running_payment(world, redis_url=redis_url, **limits) as payment:
        yield payment


async def test_a_stream_tells_each_state_with_its_version_and_ends_when_it_is_final(
    payment: Payment, bank: FakeChannel
) -> None:
    order_id, payer_id = await payment.an_order()
    bank.inject("timeout_after_booking")
    ticket = await payment.ticket(order_id, payer_id)

    async with payment.stream(order_id, ticket) as (response, stream):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        first = await stream.event()
        await payment.world.run()
        unknown = await stream.event()
        await payment.world.run_to_the_end()
        settled = await stream.event()
        end = await stream.event()
        assert await stream.is_over()

    assert [first[0], unknown[0], settled[0], end[0]] == ["order"] * 3 + ["end"]
    assert [told[2]["id"] for told in (first, unknown, settled)] == ["1", "2", "3"]
    assert [told[1]["status"] for told in (first, unknown, settled)] == [
        "requested",
        "requested",
        "settled",
    ]
    assert unknown[1]["status_for_person"]["headline"] == "还没查到结果，请不要再付"
    assert settled[1] == (await payment.read(order_id, payer_id)).json()
    assert end[1] == {"reason": "finished"}


async def test_a_new_stream_goes_on_behind_the_last_event_it_saw(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()
    ticket = await payment.ticket(order_id, payer_id)

    async with payment.stream(order_id, ticket, last_event_id=1) as (_, stream):
        await payment.world.run()
        name, order, fields = await stream.event()

    assert (name, fields["id"], order["status"]) == ("order", "2", "settled")


async def test_a_stream_of_a_finished_order_that_was_seen_ends_at_once(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()
    await payment.world.run()
    ticket = await payment.ticket(order_id, payer_id)

    async with payment.stream(order_id, ticket, last_event_id=2) as (_, stream):
        assert (await stream.event())[:2] == ("end", {"reason": "finished"})
        assert await stream.is_over()


async def refusal(payment: Payment, *args: object, **query: object) -> httpx2.Response:
    async with payment.stream(*args, **query) as (response, _):  # type: ignore[arg-type]
        await response.aread()
        return response


async def test_a_ticket_opens_one_stream_once(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()
    ticket = await payment.ticket(order_id, payer_id)

    async with payment.stream(order_id, ticket) as (first, _):
        second = await refusal(payment, order_id, ticket)

    assert first.status_code == 200
    assert (second.status_code, second.json()["code"]) == (403, "ticket_not_valid")


async def test_two_at_once_with_one_ticket_give_one_stream(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()
    await payment.world.run()
    ticket = await payment.ticket(order_id, payer_id)

    answers = await asyncio.gather(*(refusal(payment, order_id, ticket) for _ in range(3)))

    assert sorted(answer.status_code for answer in answers) == [200, 403, 403]


async def test_a_ticket_is_for_its_own_order_only(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()
    other_id, _ = await payment.an_order()

    foreign = await refusal(payment, other_id, await payment.ticket(order_id, payer_id))
    invented = await refusal(payment, order_id, "x" * 43)
    like_ours = await refusal(payment, order_id, "x" * 64)
    missing = await payment.http.get(f"/payment/v1/orders/{order_id}/events")
    long = await refusal(payment, order_id, "x" * 65)

    assert [foreign.status_code, invented.status_code, like_ours.status_code] == [403] * 3
    assert [missing.status_code, long.status_code] == [422, 422]


async def test_redis_holds_a_hash_of_the_ticket_for_a_minute(
    payment: Payment, redis: Redis
) -> None:
    order_id, payer_id = await payment.an_order()

    ticket = await payment.ticket(order_id, payer_id)

    mac_key, key = sorted(await redis.keys("*"), key=len)
    assert mac_key == b"payment:stream-ticket-mac"
    digest = hashlib.sha256(ticket.encode()).hexdigest()
    assert key == f"payment:stream-ticket:{digest}".encode()
    assert 0 < await redis.ttl(key) <= 60
    assert ticket not in str(await redis.get(key))


async def test_a_person_may_watch_only_so_many_pages(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()
    tickets = [await payment.ticket(order_id, payer_id) for _ in range(4)]

    async with payment.stream(order_id, tickets[0]) as (_, first):
        await first.event()
        async with payment.stream(order_id, tickets[1]) as (_, second):
            await second.event()
            third = await refusal(payment, order_id, tickets[2])
        await eventually(lambda: len(payment.streams.watches()) == 1)
        async with payment.stream(order_id, tickets[3]) as (again, _):
            pass

    assert (third.status_code, third.json()["code"]) == (429, "too_many_streams")
    assert again.status_code == 200


async def test_a_full_process_answers_503_and_leaves_the_ticket_usable(payment: Payment) -> None:
    order_id, _ = await payment.an_order(insured_person_id=(insured := new_id()))
    persons = [await payment.an_order() for _ in range(3)]
    ticket = await payment.ticket(order_id, insured)

    async with (
        payment.stream(persons[0][0], await payment.ticket(*persons[0])),
        payment.stream(persons[1][0], await payment.ticket(*persons[1])),
    ):
        async with payment.stream(persons[2][0], await payment.ticket(*persons[2])):
            full = await refusal(payment, order_id, ticket)
        await eventually(lambda: len(payment.streams.watches()) == 2)
        async with payment.stream(order_id, ticket) as (later, _):
            pass

    assert (full.status_code, full.json()["code"]) == (503, "streams_full")
    assert full.headers["retry-after"] == "5"
    assert later.status_code == 200


async def test_a_silent_stream_has_a_heartbeat(payment: Payment) -> None:
    payment.streams.limits = replace(payment.streams.limits, heartbeat_seconds=0.05)
    order_id, payer_id = await payment.an_order()

    async with payment.stream(order_id, await payment.ticket(order_id, payer_id)) as (_, stream):
        await stream.event()
        beats = [await stream.next() for _ in range(3)]

    assert beats == [{"": "alive"}] * 3


async def test_a_stream_ends_after_its_lifetime_so_that_a_new_ticket_is_needed(
    payment: Payment,
) -> None:
    payment.streams.limits = replace(
        payment.streams.limits, heartbeat_seconds=0.05, lifetime_seconds=1.0
    )
    order_id, payer_id = await payment.an_order()

    async with payment.stream(order_id, await payment.ticket(order_id, payer_id)) as (_, stream):
        await stream.event()
        assert (await stream.event())[:2] == ("end", {"reason": "renew"})
        assert await stream.is_over()


async def test_shutdown_ends_every_stream_and_opens_no_other(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()
    tickets = [await payment.ticket(order_id, payer_id) for _ in range(2)]

    async with payment.stream(order_id, tickets[0]) as (_, stream):
        await stream.event()
        payment.stop.set()
        assert (await stream.event())[:2] == ("end", {"reason": "stopping"})
        assert await stream.is_over()
    late = await refusal(payment, order_id, tickets[1])

    assert late.status_code == 503


async def test_a_reader_that_goes_away_is_forgotten(payment: Payment) -> None:
    order_id, payer_id = await payment.an_order()

    async with payment.stream(order_id, await payment.ticket(order_id, payer_id)) as (_, stream):
        await stream.event()
        assert len(payment.streams.watches()) == 1

    await eventually(lambda: payment.streams.watches() == [])


async def test_many_streams_cost_one_statement_per_poll(payment: Payment) -> None:
    polls: list[int] = []
    really_read = payment.streams.read_changed

    async def counted(seen: Mapping[UUID, int]) -> list[OrderView]:
        polls.append(len(seen))
        return await really_read(seen)

    payment.streams.read_changed = counted
    persons = [await payment.an_order() for _ in range(3)]

    async with (
        payment.stream(persons[0][0], await payment.ticket(*persons[0])) as (_, a),
        payment.stream(persons[1][0], await payment.ticket(*persons[1])) as (_, b),
        payment.stream(persons[2][0], await payment.ticket(*persons[2])) as (_, c),
    ):
        for stream in (a, b, c):
            await stream.event()
        await eventually(lambda: polls[-2:] == [3, 3])


async def test_a_database_that_is_away_for_a_moment_ends_no_stream(
    payment: Payment,
) -> None:
    payment.streams.limits = replace(payment.streams.limits, poll_again_seconds=0.05)
    really_read = payment.streams.read_changed
    failures = iter([True, True])

    async def flaky(seen: Mapping[UUID, int]) -> list[OrderView]:
        if next(failures, False):
            raise OSError("the database is away")
        return await really_read(seen)

    payment.streams.read_changed = flaky
    order_id, payer_id = await payment.an_order()

    async with payment.stream(order_id, await payment.ticket(order_id, payer_id)) as (_, stream):
        assert (await stream.event())[0] == "order"


async def test_tickets_stay_out_of_the_logs(
    payment: Payment, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    order_id, payer_id = await payment.an_order()
    await payment.world.run()
    ticket = await payment.ticket(order_id, payer_id)

    async with payment.stream(order_id, ticket) as (_, stream):
        await stream.event()

    # httpx2 is the page. pytest listens to uvicorn's access log, which nothing else hears.
    others = ("httpx2", "httpcore2", "uvicorn.access")
    served = [record for record in caplog.records if not record.name.startswith(others)]
    written = "".join(record.getMessage() for record in served) + "".join(capsys.readouterr())
    assert f"/payment/v1/orders/{order_id}/events" in written
    assert ticket not in written
    assert not logging.getLogger("uvicorn.access").propagate


async def test_redis_that_is_away_is_503(world: World) -> None:
    async with running_payment(world, redis_url="redis://127.0.0.1:1/0") as payment:
        order_id, payer_id = await payment.an_order()

        ticket = await payment.http.post(
            f"/payment/v1/orders/{order_id}/stream-tickets", headers=payment.as_person(payer_id)
        )
        stream = await refusal(payment, order_id, "x" * 64)
        order = await payment.read(order_id, payer_id)

    assert [ticket.status_code, stream.status_code, order.status_code] == [503, 503, 200]
