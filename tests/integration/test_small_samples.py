"""Tables that are written all the time are analysed from few rows, in every column."""

import psycopg
import pytest

from shared.runtime.messaging.tables import STATISTICS_TARGET
from testing.databases import Databases, plain

COLUMNS = """
    SELECT DISTINCT attstattarget FROM pg_attribute
    WHERE attrelid = CAST(%s AS regclass) AND attnum > 0 AND NOT attisdropped
"""


@pytest.mark.parametrize(
    ("service", "tables"),
    [
        ("billing", ("contribution", "payment_request", "inbox")),
        ("payment", ("payment_order", "payment_attempt", "inbox")),
        ("notifier", ("notification", "bill", "payment_order", "inbox")),
    ],
)
def test_every_column_is_sampled_from_few_rows(
    databases: Databases, service: str, tables: tuple[str, ...]
) -> None:
    url = databases.create(service)

    with psycopg.connect(plain(url)) as connection:
        found = {table: connection.execute(COLUMNS, [table]).fetchall() for table in tables}
    databases.drop(url)
    assert found == {table: [(STATISTICS_TARGET,)] for table in tables}
