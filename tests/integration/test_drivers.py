"""The same statements run on asyncpg and, for sites behind PgBouncer, on psycopg 3."""

from collections.abc import Iterator

import pytest

from devstack.stack import Stack
from shared.catalogue import names_of
from testing.eventually import eventually
from tests.integration.conftest import FAST_SETTINGS
from tests.integration.support.people import People

PROCESSES = list(names_of())


@pytest.fixture
def stack_on_psycopg(stack: Stack) -> Iterator[Stack]:
    """The same stack with every service on the other driver; put back at the end."""
    overrides = {
        service: {
            **FAST_SETTINGS.get(service, {}),
            "SONGHE_DATABASE_URL": url.replace("://", "+psycopg://", 1),
        }
        for service, url in stack.databases.items()
    }
    other = Stack(stack.state_dir, overrides=overrides, externals=stack.plan().externals)
    for name in PROCESSES:
        other.restart(name)
    yield other
    for name in PROCESSES:
        stack.restart(name)


async def test_a_contribution_is_paid_on_the_other_driver(
    stack_on_psycopg: Stack, people: People
) -> None:
    person = await people.logged_in()
    contribution = await person.assess()

    await person.pay(contribution["id"])

    await person.until_status(contribution["id"], "paid")

    async def told() -> bool:
        items = (await person.get("/notifier/v1/notifications"))["items"]
        return any(item["sms"] and item["sms"]["status"] == "delivered" for item in items)

    await eventually(told)
