"""asyncpg without a layer above it: a statement costs a third of what it costs through one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
from asyncpg.protocol import protocol

from shared.runtime.database.address import DatabaseAddress
from shared.runtime.database.statements import Connection, Rows, Statement

STATEMENTS_PER_CONNECTION_MAX = 200
# A statement's plan and its connection may live as long as the process.
QUERIES_PER_CONNECTION_MAX = 1_000_000

# Of each array, and of each element of it, asyncpg asks abstract classes, in Python, whether it is
# an array: a seventh of a worker's CPU. Our arrays are lists, and that is asked in C.
protocol.IterableABC = protocol.SizedABC = list
protocol.MappingABC = dict


class Row(asyncpg.Record):  # type: ignore[misc]  # asyncpg has no types
    """One row: columns by name, by place and by attribute, where it is no method's name."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


# Read as an attribute, such a column would be the method.
METHODS = frozenset(name for name in dir(asyncpg.Record) if not name.startswith("_"))


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """Nothing of a user outlives the transaction, so nothing is reset after it."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class AsyncpgConnection(Connection):
    """One connection of this driver."""

    __slots__ = ("_raw", "_returns_rows")

    def __init__(self, raw: Any, returns_rows: dict[str, bool]) -> None:
        self._raw = raw
        self._returns_rows = returns_rows

    async def execute(
        self, statement: Statement, values: Mapping[str, Any] | None = None, /
    ) -> Rows:
        sql = statement.numbered
        arguments = [values[name] for name in statement.names] if values else ()
        if sql not in self._returns_rows:
            columns = (await self._raw.prepare(sql)).get_attributes()
            if taken := METHODS & {column.name for column in columns}:
                raise ValueError(f"a column must not be called {min(taken)}: rows have a method so")
            self._returns_rows[sql] = bool(columns)
        if self._returns_rows[sql]:
            rows = await self._raw.fetch(sql, *arguments)
            return Rows(rows, len(rows))
        return Rows((), _count(await self._raw.execute(sql, *arguments)))

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        savepoint: AbstractAsyncContextManager[object] = self._raw.transaction()
        return savepoint


class AsyncpgPool:
    """Implements Pool. A connection that ended meanwhile is noticed and replaced."""

    def __init__(
        self,
        address: DatabaseAddress,
        *,
        pool_size: int,
        settings: Mapping[str, str],
        wait_seconds: float,
        connect_seconds: float,
        command_seconds: float,
    ) -> None:
        self._open = partial(
            asyncpg.create_pool,
            **address.connection,
            **address.options,
            min_size=0,
            max_size=pool_size,
            connection_class=_Connection,
            record_class=Row,
            server_settings=dict(settings),
            timeout=connect_seconds,
            command_timeout=command_seconds,
            statement_cache_size=STATEMENTS_PER_CONNECTION_MAX,
            max_cached_statement_lifetime=0,
            max_queries=QUERIES_PER_CONNECTION_MAX,
        )
        self._wait_seconds = wait_seconds
        self._returns_rows: dict[str, bool] = {}
        self._pool: Any = None

    @property
    def held_count(self) -> int:
        return 0 if self._pool is None else int(self._pool.get_size() - self._pool.get_idle_size())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncpgConnection]:
        async with self._acquired() as raw, raw.transaction():
            yield AsyncpgConnection(raw, self._returns_rows)

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[AsyncpgConnection]:
        async with self._acquired() as raw:
            yield AsyncpgConnection(raw, self._returns_rows)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Any]:
        if self._pool is None:
            # With no connection to begin with, opening does not wait for anything.
            self._pool = self._open()
            await self._pool
        raw = await self._pool.acquire(timeout=self._wait_seconds)
        try:
            yield raw
        finally:
            await self._pool.release(raw, timeout=self._wait_seconds)


def _count(status: str) -> int:
    """The rows of a command tag such as `UPDATE 5`; 0 where it has no number."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0
