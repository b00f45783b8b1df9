"""The same statements on psycopg, for sites behind PgBouncer."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
import pytest_asyncio

from services.notifier.adapters.postgres.unit import transactions_of
from services.notifier.application.list_notifications import list_notifications
from services.notifier.tests.world import World
from shared.runtime.database.database import open_database
from testing.builders import (
    contribution_assessed,
    payment_delayed,
    payment_requested,
    payment_settled,
)


@pytest_asyncio.fixture
async def on_psycopg(world: World, service_database: Callable[[str], str]) -> AsyncIterator[World]:
    url = service_database("notifier").replace("+asyncpg", "+psycopg")
    world.database = open_database(url, source="notifier", pool_size=2)
    yield world
    await world.database.close()


@pytest.mark.parametrize("is_overtaken", [True, False])
async def test_every_statement_of_the_notifier_runs_on_psycopg(
    on_psycopg: World, is_overtaken: bool
) -> None:
    world = on_psycopg
    assessed = contribution_assessed()
    requested = payment_requested(after=assessed, payer_id=assessed.insured_person_id)
    settled = payment_settled(after=requested)
    if is_overtaken:
        promised = world.clock.now() + timedelta(hours=2)
        delayed = payment_delayed(after=requested, next_update_by=promised)
        await world.tell(world.news(delayed))
    await world.tell(world.news(assessed), world.news(requested), world.news(settled, sequence=2))

    await world.deliver()

    overtaken = {"OVERTAKEN": 1} if is_overtaken else {}
    assert await world.sms_states() == {"DELIVERED": 1, **overtaken}
    page = await list_notifications(
        transactions_of(world.database), person_id=settled.insured_person_id, limit=2, before=None
    )
    assert len(page.entries) == 2
