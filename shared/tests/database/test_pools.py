"""Both drivers give the same answers, and a pool never hands out what is broken or half done."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable

import asyncpg
import pytest
import pytest_asyncio

from shared.runtime.database.database import Database, is_transient, open_database, sqlstate
from shared.runtime.database.statements import text
from testing.databases import Databases
from testing.eventually import eventually

COUNT = text("SELECT count(*) AS n FROM thing")
ADD = text("INSERT INTO thing SELECT * FROM unnest(CAST(:ids AS int[]))")


@pytest_asyncio.fixture(params=["asyncpg", "psycopg"])
async def database(databases: Databases, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    url = databases.create()
    pool = open_database(url.replace("asyncpg", request.param), source="some", pool_size=2)
    async with pool.transaction() as unit:
        await unit.connection.execute(text("CREATE TABLE thing (id int PRIMARY KEY)"))
    yield pool
    await pool.close()
    databases.drop(url)


async def test_rows_have_names_and_a_count(database: Database) -> None:
    async with database.transaction() as unit:
        added = await unit.connection.execute(ADD, {"ids": [1, 2, 3]})
        changed = await unit.connection.execute(text("UPDATE thing SET id = id + 10 WHERE id > 1"))
        found = await unit.connection.execute(text("SELECT id, id * 2 AS twice FROM thing"))
        gone = await unit.connection.execute(text("DELETE FROM thing WHERE id = 1 RETURNING id"))

    assert (added.rowcount, changed.rowcount, gone.rowcount) == (3, 2, 1)
    assert sorted((row.id, row.twice) for row in found) == [(1, 2), (12, 24), (13, 26)]
    assert sorted(row["twice"] for row in found.mappings()) == [2, 24, 26]
    assert {**found.mappings().all()[0]}.keys() == {"id", "twice"}


async def test_one_row_is_one_row(database: Database) -> None:
    none, several = text("SELECT id FROM thing"), text("SELECT * FROM generate_series(1, 2)")
    async with database.statements() as connection:
        assert (await connection.execute(none)).one_or_none() is None
        assert (await connection.execute(none)).first() is None
        assert await connection.scalar(none) is None
        assert await connection.scalar(COUNT) == 0
        with pytest.raises(LookupError):
            (await connection.execute(none)).one()
        with pytest.raises(LookupError):
            (await connection.execute(several)).one_or_none()


async def test_an_exception_leaves_nothing_of_its_transaction(database: Database) -> None:
    with pytest.raises(ValueError, match="no"):
        await add_and_fail(database)

    assert await count(database) == 0


async def test_a_savepoint_is_rolled_back_alone(database: Database) -> None:
    async with database.transaction() as unit:
        await unit.connection.execute(ADD, {"ids": [1]})
        with pytest.raises(Exception, match="duplicate key") as failed:
            async with unit.connection.savepoint():
                await unit.connection.execute(ADD, {"ids": [2, 1]})

    assert await count(database) == 1
    assert sqlstate(failed.value) == "23505"
    assert not is_transient(failed.value)


async def test_a_single_statement_is_committed_at_once(database: Database) -> None:
    async with database.one_statement() as unit:
        await unit.connection.execute(ADD, {"ids": [1]})
        assert await count(database) == 1


async def test_a_single_statement_leaves_nothing_that_an_end_would_have_to_do(
    database: Database,
) -> None:
    """Emitted, opened or called there it would vanish without an error."""
    waits_for_an_end = {"emit", "repeat", "open_items", "open_item", "at_end", "flush", "savepoint"}

    async with database.one_statement() as unit:
        assert not waits_for_an_end & set(dir(unit))


async def test_a_value_that_the_driver_cannot_send_is_no_reason_to_try_again(
    database: Database,
) -> None:
    with pytest.raises(Exception, match=r"int|integer") as failed:
        async with database.transaction() as unit:
            await unit.connection.execute(ADD, {"ids": ["many"]})

    assert not is_transient(failed.value)


@pytest.mark.parametrize("database", ["asyncpg"], indirect=True)
async def test_no_column_hides_behind_a_method_of_its_row(database: Database) -> None:
    async with database.statements() as connection:
        with pytest.raises(ValueError, match="items"):
            await connection.execute(text("SELECT 1 AS items"))


@pytest.mark.parametrize("database", ["asyncpg"], indirect=True)
async def test_asyncpg_knows_an_array_by_being_a_list(database: Database) -> None:
    """Else each element costs two questions in Python; gone with an update that renames them."""
    async with database.statements() as connection:
        length = text("SELECT cardinality(CAST(:ids AS int[]))")

        assert await connection.scalar(length, {"ids": [1, 2, 3]}) == 3
        with pytest.raises(Exception, match="got type 'tuple'"):
            await connection.scalar(length, {"ids": (1, 2, 3)})
        assert "ABCMeta.__instancecheck__" not in await python_calls_of(
            connection.scalar(length, {"ids": [1, 2, 3]})
        )


async def test_a_connection_that_was_ended_is_transient_and_replaced(database: Database) -> None:
    with pytest.raises(Exception, match=r"terminat|clos") as failed:
        await add_on_a_connection_that_ends(database)

    assert is_transient(failed.value)
    assert await count(database) == 0
    assert database.pool.held_count == 0


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_who_waits_too_long_for_a_connection_is_told_so(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    monkeypatch.setattr("shared.runtime.database.database.POOL_TIMEOUT_SECONDS", 0.2)
    database = open_database(
        databases.create().replace("asyncpg", driver), source="some", pool_size=1
    )

    async with database.statements() as only:
        with pytest.raises(Exception) as failed:
            await database.statements().__aenter__()
        assert await only.scalar(text("SELECT 1")) == 1

    assert is_transient(failed.value)
    assert database.pool.held_count == 0
    await database.close()


async def test_a_cancelled_statement_gives_its_connection_back(database: Database) -> None:
    waiting = asyncio.create_task(sleep_long(database))
    await eventually(lambda: database.pool.held_count == 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert database.pool.held_count == 0
    assert await count(database) == 0


async def python_calls_of(work: Awaitable[object]) -> set[str]:
    """Every Python function that was called until this work was done."""
    called: set[str] = set()
    sys.setprofile(lambda frame, event, _: called.add(frame.f_code.co_qualname))
    try:
        await work
    finally:
        sys.setprofile(None)
    return called


async def add_and_fail(database: Database) -> None:
    async with database.transaction() as unit:
        await unit.connection.execute(ADD, {"ids": [1]})
        raise ValueError("no")


async def add_on_a_connection_that_ends(database: Database) -> None:
    async with database.transaction() as unit:
        pid = await unit.connection.scalar(text("SELECT pg_backend_pid()"))
        async with database.statements() as other:
            await other.scalar(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        await unit.connection.execute(ADD, {"ids": [1]})


async def sleep_long(database: Database) -> None:
    async with database.transaction() as unit:
        await unit.connection.execute(ADD, {"ids": [1]})
        await unit.connection.execute(text("SELECT pg_sleep(60)"))


async def count(database: Database) -> int:
    async with database.statements() as connection:
        found: int = await connection.scalar(COUNT)
    return found


def test_a_driver_whose_inner_state_broke_with_its_connection_blames_no_message() -> None:
    """Seen where a backend was terminated between two words of its answer."""
    broken = asyncpg.InternalClientError(
        "cannot switch to state 15; another operation is under way"
    )

    assert is_transient(broken)
