"""Live status when everybody comes at once, and when somebody invents tickets."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from services.payment.adapters.redis.stream_tickets import StreamTickets, open_redis
from services.payment.tests.running_payment import Payment, running_payment
from services.payment.tests.world import World
from shared.kernel.errors import Refused
from shared.kernel.ids import new_id

PAGES = 300
INVENTED = 200


def invent() -> str:
    """The form of a ticket, and nothing behind it."""
    return secrets.token_urlsafe(48)


@pytest_asyncio.fixture
async def payment(world: World, redis_url: str) -> AsyncIterator[Payment]:
    async with running_payment(world, redis_url=redis_url) as payment:
        yield payment


async def look(payment: Payment, order_id: UUID, ticket: str, pages: AsyncExitStack) -> int:
    """The status of a page's stream, which stays open: a bare socket, as there are hundreds."""
    url = payment.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    pages.callback(writer.close)
    path = f"/payment/v1/orders/{order_id}/events?ticket={ticket}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
    status_line = await reader.readline()
    return int(status_line.split()[1])


async def test_hundreds_of_pages_at_once_beside_invented_tickets_all_get_their_stream(
    payment: Payment,
) -> None:
    orders = [await payment.an_order() for _ in range(PAGES)]
    real = [(order_id, await payment.ticket(order_id, payer)) for order_id, payer in orders]
    forged = [(orders[0][0], invent()) for _ in range(INVENTED)]

    async with AsyncExitStack() as pages:
        statuses = await asyncio.gather(*(look(payment, *one, pages) for one in forged + real))
        watched = len(payment.streams.watches())

    assert Counter(statuses[:INVENTED]) == {403: INVENTED}
    assert Counter(statuses[INVENTED:]) == {200: PAGES}
    assert watched == PAGES


@pytest.fixture
def asked(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each command was sent one by one, as redeeming does."""
    commands: Counter[str] = Counter()
    execute: Callable[..., Awaitable[Any]] = Redis.execute_command

    async def count(self: Redis, *args: Any, **options: Any) -> Any:
        commands[str(args[0])] += 1
        return await execute(self, *args, **options)

    monkeypatch.setattr(Redis, "execute_command", count)
    return commands


async def redeemed(tickets: StreamTickets, ticket: str) -> bool:
    try:
        await tickets.redeem(ticket, order_id=new_id())
    except Refused as refusal:
        return refusal.code != "ticket_not_valid"
    return True


@pytest.mark.parametrize("is_fresh", [True, False])
async def test_invented_tickets_cost_one_question_together(
    redis: Redis, asked: Counter[str], is_fresh: bool
) -> None:
    order_id, person_id = new_id(), new_id()
    ticket = await StreamTickets(redis).issue(order_id=order_id, person_id=person_id)
    tickets = StreamTickets(redis)
    if not is_fresh:
        await tickets.issue(order_id=order_id, person_id=person_id)
    forms = [invent() for _ in range(INVENTED)]
    forms += [ticket[:-1] + ("A" if ticket[-1] != "A" else "B"), ticket[:-1], ticket + "A"]
    forms += ["", "x" * 43, "=" * 64, "ü" * 64, "\udcff" * 64, ticket[:-1] + "\n"]

    answers = await asyncio.gather(*(redeemed(tickets, form) for form in forms))

    assert not any(answers)
    assert set(asked) <= {"GET"}
    assert asked["GET"] <= 1
    assert await tickets.redeem(ticket, order_id=order_id) == person_id


async def test_processes_share_the_key_and_survive_a_redis_that_forgot_it(redis: Redis) -> None:
    one, other = StreamTickets(redis), StreamTickets(redis)
    order_id, person_id = new_id(), new_id()

    async def goes_from_to(issuer: StreamTickets, redeemer: StreamTickets) -> bool:
        ticket = await issuer.issue(order_id=order_id, person_id=person_id)
        return await redeemer.redeem(ticket, order_id=order_id) == person_id

    at_once = await asyncio.gather(goes_from_to(one, other), goes_from_to(other, one))
    await redis.flushdb()
    assert [*at_once, await goes_from_to(other, one), await goes_from_to(one, other)] == [True] * 4

    await redis.flushdb()
    assert await goes_from_to(StreamTickets(redis), StreamTickets(redis))
    # Another key now: who kept the old one issues with the new one, so both know it.
    assert await goes_from_to(one, StreamTickets(redis))


async def test_a_redis_that_is_away_is_said_and_not_called_a_wrong_ticket() -> None:
    gone = open_redis("redis://127.0.0.1:9/0")
    tickets = StreamTickets(gone)

    answers = await asyncio.gather(
        *(tickets.redeem(invent(), order_id=new_id()) for _ in range(3)), return_exceptions=True
    )

    assert [type(answer) for answer in answers] == [RedisConnectionError] * 3
    await gone.aclose()
