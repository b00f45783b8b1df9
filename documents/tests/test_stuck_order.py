"""docs/stuck-order.md: each query that it tells people to run works on the tables as they are."""

import re
from collections.abc import Callable
from uuid import UUID

import pytest

from documents.generate import ROOT
from shared.runtime.database.database import open_database
from shared.runtime.database.statements import text

PAGE = (ROOT / "docs" / "stuck-order.md").read_text()
QUERIES = re.findall(r"^```sql\n-- (\w+)\n(.*?);\n```$", PAGE, re.MULTILINE | re.DOTALL)
SOME_ORDER = UUID(int=1)


def test_no_query_is_left_out() -> None:
    assert len(QUERIES) == PAGE.count("```sql")


@pytest.mark.parametrize(("service", "query"), QUERIES)
async def test_a_query_of_the_page_works_and_only_reads(
    service: str, query: str, service_database: Callable[[str], str]
) -> None:
    database = open_database(service_database(service), source=service, pool_size=1)

    # As psql does it with `-v order=…`; two colons would be a bind to SQLAlchemy.
    statement = query.replace(":'order'", f"'{SOME_ORDER}'").replace("::", r"\:\:")
    async with database.transaction() as unit:
        await unit.connection.execute(text("SET TRANSACTION READ ONLY"))
        await unit.connection.execute(text(statement))

    await database.close()
