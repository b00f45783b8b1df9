"""Tables that are written all the time are analysed from few rows, in every column."""

from collections.abc import Iterator

import psycopg
import pytest

from shared.runtime.messaging_tables import STATISTICS_TARGET
from shared.runtime.migrations import migrations_of, run_migrations
from shared.testing.databases import Databases

COLUMNS = """
    SELECT DISTINCT attstattarget FROM pg_attribute
    WHERE attrelid = CAST(%s AS regclass) AND attnum > 0 AND NOT attisdropped
"""


@pytest.fixture
def empty(databases: Databases) -> Iterator[str]:
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.mark.parametrize(
    ("service", "tables"),
    [
        ("billing", ("contribution", "payment_request", "inbox")),
        ("payment", ("payment_order", "payment_attempt", "inbox")),
        ("notifier", ("notification", "bill", "payment_order", "inbox")),
    ],
)
def test_every_column_is_sampled_from_few_rows(
    empty: str, service: str, tables: tuple[str, ...]
) -> None:
    run_migrations(empty, migrations_of(service))

    with psycopg.connect(empty.replace("+asyncpg", "")) as connection:
        found = {table: connection.execute(COLUMNS, [table]).fetchall() for table in tables}
    assert found == {table: [(STATISTICS_TARGET,)] for table in tables}
