"""A column map writes the statements of its table; what is saved was as it had been read."""

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from shared.kernel.errors import LostGuard
from shared.kernel.transitions import Move, Transitions
from shared.runtime.database.database import Database, open_database
from shared.runtime.database.set_statements import (
    Columns,
    GuardedUpdate,
    binds,
    insert,
    names,
    save_guarded,
)
from shared.runtime.database.statements import text
from shared.runtime.ground.metrics import REGISTRY, declare_transitions
from testing.databases import Databases


class Light(StrEnum):
    RED = "RED"
    AMBER = "AMBER"
    GREEN = "GREEN"


LIGHT = Transitions(
    "light",
    Light,
    Light.RED,
    [Move(Light.RED, Light.AMBER, "soon"), Move(Light.AMBER, Light.GREEN, "now")],
)


class Lamp(msgspec.Struct, frozen=True):
    id: UUID
    status: Light
    version: int = 1
    note: str | None = None


COLUMNS: Columns = {"id": "uuid", "status": "text", "version": "bigint", "note": "text"}
STATE: Columns = {"status": "text", "version": "bigint", "note": "text"}


def row_of(lamp: Lamp) -> dict[str, Any]:
    return {
        "id": lamp.id,
        "status": lamp.status.value,
        "version": lamp.version,
        "note": lamp.note,
    }


INSERT = insert("lamp", COLUMNS)
SAVE = GuardedUpdate("lamp", STATE, row_of, moves=LIGHT, also="saves = saves + 1")
READ = text(f"SELECT {names(COLUMNS)}, saves FROM lamp ORDER BY id")


@pytest_asyncio.fixture(params=["asyncpg", "psycopg"])
async def database(databases: Databases, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    url = databases.create()
    pool = open_database(url.replace("asyncpg", request.param), source="some", pool_size=2)
    async with pool.transaction() as unit:
        await unit.connection.execute(
            text(
                "CREATE TABLE lamp (id uuid PRIMARY KEY, status text NOT NULL,"
                " version bigint NOT NULL, note text, saves integer NOT NULL DEFAULT 0)"
            )
        )
        await unit.connection.execute(INSERT, binds(COLUMNS, [row_of(lamp) for lamp in LAMPS]))
    declare_transitions(LIGHT)
    yield pool
    await pool.close()
    databases.drop(url)


IDS = [UUID(int=number) for number in (1, 2, 3)]
LAMPS = [
    Lamp(IDS[0], Light.RED),
    Lamp(IDS[1], Light.RED, note="old"),
    Lamp(IDS[2], Light.GREEN),
]


def switched(lamp: Lamp, status: Light) -> Lamp:
    return replace(lamp, status=status, version=lamp.version + 1, note=None)


async def test_a_set_is_saved_with_what_is_set_besides(database: Database) -> None:
    await save(database, [(lamp, switched(lamp, Light.AMBER)) for lamp in LAMPS[:2]])

    assert await lamps(database) == [
        (IDS[0], "AMBER", 2, None, 1),
        (IDS[1], "AMBER", 2, None, 1),
        (IDS[2], "GREEN", 1, None, 0),
    ]


async def test_steps_of_one_row_are_stored_as_one_and_counted_each(database: Database) -> None:
    counted = [moves("RED", "AMBER"), moves("AMBER", "GREEN"), moves("RED", "GREEN")]
    amber = switched(LAMPS[0], Light.AMBER)

    await save(database, [(LAMPS[0], amber), (amber, switched(amber, Light.GREEN))])

    assert (await lamps(database))[0] == (IDS[0], "GREEN", 3, None, 1)
    now = [moves("RED", "AMBER"), moves("AMBER", "GREEN"), moves("RED", "GREEN")]
    assert now == [counted[0] + 1, counted[1] + 1, 0]


async def test_nothing_is_saved_where_one_row_is_not_as_it_was_read(database: Database) -> None:
    stale = replace(LAMPS[1], version=7)
    before = await lamps(database)
    counted = moves("RED", "AMBER")

    with pytest.raises(LostGuard, match="1 of 2 rows of lamp"):
        await save(database, [(one, switched(one, Light.AMBER)) for one in (LAMPS[0], stale)])

    assert await lamps(database) == before
    assert moves("RED", "AMBER") == counted


async def test_of_two_decisions_on_one_reading_none_is_forgotten(database: Database) -> None:
    before = await lamps(database)

    with pytest.raises(LostGuard, match="lamp"):
        await save(
            database,
            [(LAMPS[0], switched(LAMPS[0], status)) for status in (Light.AMBER, Light.GREEN)],
        )

    assert await lamps(database) == before


async def save(database: Database, changes: Sequence[tuple[Lamp, Lamp]]) -> None:
    async with database.transaction() as unit:
        await save_guarded(unit, SAVE, changes)


async def lamps(database: Database) -> list[tuple[Any, ...]]:
    async with database.statements() as connection:
        return [tuple(row) for row in await connection.execute(READ)]


def moves(source: str, target: str) -> float:
    labels = {"machine": "light", "from": source, "to": target}
    return REGISTRY.get_sample_value("songhe_state_transitions_total", labels) or 0.0
