"""Many people who pay at once."""

import asyncio
from collections.abc import Sequence

import psycopg

from devstack.stack import Stack
from testing.eventually import eventually
from tests.integration.support.people import People, Person

# More than this many requests at once only queue behind the services' small pools.
AT_ONCE = 16


async def crowd(people: People, count: int) -> list[Person]:
    return [people.somebody() for _ in range(count)]


async def pay_all(persons: Sequence[Person]) -> dict[Person, str]:
    """Everybody assesses and requests the payment; person → payment order id."""
    gate = asyncio.Semaphore(AT_ONCE)
    orders: dict[Person, str] = {}

    async def pay(person: Person) -> None:
        async with gate:
            contribution = await person.assess()
            orders[person] = (await person.pay(contribution["id"]))["payment_order_id"]

    await asyncio.gather(*(pay(person) for person in persons))
    return orders


def statuses(stack: Stack, persons: Sequence[Person]) -> dict[str, int]:
    """How many contributions of these people are in which status."""
    with psycopg.connect(stack.databases["billing"]) as connection:
        rows = connection.execute(
            "SELECT status, count(*) FROM contribution WHERE insured_person_id = ANY(%s)"
            " GROUP BY status",
            ([person.id for person in persons],),
        ).fetchall()
    return dict(rows)


async def until_all_paid(
    stack: Stack, persons: Sequence[Person], *, within_seconds: float = 90.0
) -> None:
    def all_paid() -> bool:
        found = statuses(stack, persons)
        assert found == {"PAID": len(persons)}, found
        return True

    await eventually(all_paid, within_seconds)
