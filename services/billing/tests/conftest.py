"""Billing on a real database: `billing` runs use cases, one transaction each."""

from collections.abc import AsyncIterator, Callable

import pytest

from services.billing.tests.running_billing import Billing
from shared.runtime.database.database import open_database


@pytest.fixture(scope="module")
async def billing(service_database: Callable[[str], str]) -> AsyncIterator[Billing]:
    database = open_database(service_database("billing"), source="billing", pool_size=4)
    yield Billing(database)
    await database.close()
