"""A row that changed behind its lock: nothing is stored, and it is no passing trouble."""

import pytest

from services.billing.adapters.postgres.unit import BillingUnit
from services.billing.domain.contribution import reopen
from services.billing.domain.payment_request import failed
from services.billing.tests.running_billing import Billing
from services.billing.tests.telling_payment import Order, open_order
from shared.kernel.errors import LostGuard
from shared.runtime.database.database import is_transient
from shared.runtime.database.statements import text
from shared.runtime.database.unit_of_work import Unit


async def test_a_contribution_that_is_not_as_it_was_read(billing: Billing) -> None:
    order = await open_order(billing)
    before = await billing.business_state()

    with pytest.raises(LostGuard, match="0 of 1 rows of contribution") as lost:
        await reopen_what_changed(billing, order)

    assert not is_transient(lost.value)
    assert await billing.business_state() == before


async def test_a_request_that_is_not_as_it_was_read(billing: Billing) -> None:
    order = await open_order(billing)
    before = await billing.business_state()

    with pytest.raises(LostGuard, match="0 of 1 rows of payment_request") as lost:
        await fail_what_changed(billing, order)

    assert not is_transient(lost.value)
    assert await billing.business_state() == before


async def reopen_what_changed(billing: Billing, order: Order) -> None:
    async with billing.database.transaction() as unit:
        rows = BillingUnit(unit).contributions
        contribution = (await rows.lock([order.contribution_id]))[order.contribution_id]
        await write_around(unit, "contribution")
        owed = reopen(contribution, reason="expired", can_retry=True)
        await rows.save([(contribution, owed)])


async def fail_what_changed(billing: Billing, order: Order) -> None:
    async with billing.database.transaction() as unit:
        rows = BillingUnit(unit).payment_requests
        request = (await rows.lock([order.id]))[order.id]
        await write_around(unit, "payment_request")
        await rows.save([(request, failed(request, reason="expired"))])


async def write_around(unit: Unit, table: str) -> None:
    await unit.connection.execute(text(f"UPDATE {table} SET version = version + 1"))
