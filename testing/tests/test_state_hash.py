"""The hash over a service's facts: every fact counts, the clock's appointments do not."""

from collections.abc import Iterator

import psycopg
import pytest

from testing.databases import Databases, plain
from testing.state_hash import state_hash


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    url = databases.create()
    with psycopg.connect(plain(url)) as connection:
        connection.execute("CREATE TABLE attempt (id int, status text, due_at timestamptz)")
        connection.execute("INSERT INTO attempt VALUES (1, 'CLOSED', now()), (2, 'CLOSED', now())")
    yield plain(url)
    databases.drop(url)


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ("UPDATE attempt SET due_at = now() + interval '1 hour'", True),
        ("UPDATE attempt SET due_at = NULL WHERE id = 1", True),
        ("UPDATE attempt SET status = 'SUCCEEDED' WHERE id = 2", False),
        ("DELETE FROM attempt WHERE id = 2", False),
        ("INSERT INTO attempt VALUES (2, 'CLOSED', now())", False),
    ],
)
def test_only_facts_change_the_hash(database: str, change: str, is_same: bool) -> None:
    before = state_hash(database)

    with psycopg.connect(database) as connection:
        connection.execute(change)

    assert (state_hash(database) == before) is is_same
