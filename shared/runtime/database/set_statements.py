"""Sets of rows, each in one statement: a table's columns are written down once, as a map.

Every column is one array bind, so that the same text runs on asyncpg and on psycopg.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from shared.kernel.errors import LostGuard
from shared.kernel.transitions import Transitions
from shared.runtime.database.statements import Statement, text
from shared.runtime.database.unit_of_work import StatementUnit

# A column and its type.
Columns = Mapping[str, str]
# A column and its value.
Row = Mapping[Any, Any]
Stored = TypeVar("Stored")

VERSION: Columns = {"version": "bigint"}


def names(columns: Columns, prefix: str = "") -> str:
    """The columns for a select or insert list, each behind `prefix`."""
    return ", ".join(f"{prefix}{name}" for name in columns)


def unnest(columns: Columns) -> str:
    """One array bind per column as a set of rows; runs on asyncpg and psycopg."""
    arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in columns.items())
    return f"unnest({arrays}) AS row ({names(columns)})"


def assignments(columns: Columns) -> str:
    return ", ".join(f"{name} = row.{name}" for name in columns)


def binds(columns: Columns, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The arrays of `unnest`."""
    return {name: [row[name] for row in rows] for name in columns}


def insert(table: str, columns: Columns, ending: str = "") -> Statement:
    """Insert a set of rows; `ending` says what happens where one is there already."""
    listed = names(columns)
    return text(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {unnest(columns)} {ending}")


class GuardedUpdate(Generic[Stored]):
    """How rows that are locked are stored anew: all of `state`, where `guards` are as they were.

    `key` and `guards` are attributes of what is stored, too. With `moves`, the status of each is a
    state of that table. `also` is set besides, whatever changed.
    """

    def __init__(
        self,
        table: str,
        state: Columns,
        row_of: Callable[[Stored], Row],
        *,
        key: str = "id",
        guards: Columns = VERSION,
        moves: Transitions[Any] | None = None,
        also: str | None = None,
    ) -> None:
        self.table = table
        self.moves = moves
        self._row_of = row_of
        self._key = key
        self._guards = tuple(guards)
        before = {f"{name}_before": kind for name, kind in guards.items()}
        self._columns = {key: "uuid", **before, **state}
        as_before = [f"{table}.{name} = row.{name}_before" for name in guards]
        self.statement = text(
            f"UPDATE {table} SET {', '.join([*([also] if also else []), assignments(state)])}"
            f" FROM {unnest(self._columns)}"
            f" WHERE {' AND '.join([f'{table}.{key} = row.{key}', *as_before])}"
        )

    def rows(self, changes: Sequence[tuple[Stored, Stored]]) -> list[Row]:
        """One row for each that changes, from before its first step to after its last."""
        spans: dict[Any, tuple[Stored, Stored]] = {}
        for before, after in changes:
            key = getattr(before, self._key)
            first, last = spans.get(key, (before, before))
            if last is not before and last != before:
                # Of two decisions on the same reading one would be forgotten.
                raise LostGuard(self.table, wanted=len(changes), saved=0)
            spans[key] = first, after
        return [self._row(first, last) for first, last in spans.values()]

    def binds(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        return binds(self._columns, rows)

    def _row(self, first: Stored, last: Stored) -> Row:
        before = {f"{name}_before": getattr(first, name) for name in self._guards}
        return {**self._row_of(last), **before}


async def save_guarded(
    unit: StatementUnit,
    update: GuardedUpdate[Stored],
    changes: Sequence[tuple[Stored, Stored]],
) -> None:
    """Store (before, after) pairs in one statement; several steps of one row are pairs in order.

    Moves between states are counted once they are committed. Raises LostGuard where a row is not
    as it was before.
    """
    if not changes:
        return
    rows = update.rows(changes)
    saved = await unit.connection.execute(update.statement, update.binds(rows))
    if saved.rowcount != len(rows):
        raise LostGuard(update.table, wanted=len(rows), saved=saved.rowcount)
    if update.moves is not None:
        steps: Sequence[tuple[Any, Any]] = changes
        unit.count_moves(update.moves, [(before.status, after.status) for before, after in steps])
