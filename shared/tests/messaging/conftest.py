"""A database with the messaging tables, and pools on it, for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from shared.runtime.database.database import Database, open_database
from shared.tests.messaging.ledger import create_tables
from testing.databases import Databases


@pytest.fixture
def ledger_url(databases: Databases) -> Iterator[str]:
    url = databases.create()
    create_tables(url)
    yield url
    databases.drop(url)


@pytest.fixture
async def database(ledger_url: str) -> AsyncIterator[Database]:
    pool = open_database(ledger_url, source="ledger", pool_size=3)
    yield pool
    await pool.close()
