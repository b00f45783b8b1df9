"""The same statements on psycopg, for sites behind PgBouncer."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from services.billing.adapters.postgres.unit import BillingUnit
from services.billing.tests.builders import FLOOR
from services.billing.tests.running_billing import Billing
from services.billing.tests.telling_payment import decisions_told, next_order, open_order
from shared.kernel.ids import new_id
from shared.kernel.money import Money
from shared.runtime.database.database import open_database


@pytest.fixture
async def on_psycopg(service_database: Callable[[str], str]) -> AsyncIterator[Billing]:
    url = service_database("billing").replace("+asyncpg", "+psycopg")
    database = open_database(url, source="billing", pool_size=2)
    yield Billing(database)
    await database.close()


async def test_every_statement_of_billing_runs_on_psycopg(on_psycopg: Billing) -> None:
    billing, person_id = on_psycopg, new_id()
    first, _ = await billing.assess(person_id, base=FLOOR)
    second, is_new = await billing.assess(person_id, base=Money(FLOOR.fen + 100))
    assert (is_new, second.supersedes) == (True, first.id)
    assert (await billing.contribution(second.id)) == second

    failed = await open_order(billing)
    request = await billing.payment_request(failed.id)
    assert await billing.ask(request.next_ask_at + timedelta(hours=1)) >= 1
    again = failed.unexpected(sequence=2)
    await billing.hear(failed.failed(), failed.unexpected(), again, failed.settled(3))
    assert len(await decisions_told(billing, failed)) == 1
    await billing.hear(failed.refunded())
    settled = await next_order(billing, failed)
    await billing.hear(settled.settled())

    async with billing.database.transaction() as unit:
        rows = BillingUnit(unit).contributions
        (shown,) = await rows.list_own(failed.person_id, before=None, limit=5)
        assert await rows.view_own(failed.contribution_id, failed.person_id) == shown
        assert await rows.replacement_of(first.id) == second.id
    assert shown.contribution.status == "PAID"
