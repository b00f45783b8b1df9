"""The same statements through SQLAlchemy: for psycopg, behind PgBouncer."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.runtime.database.statements import Connection, Rows


class SqlalchemyRows(Rows):
    __slots__ = ()

    def mappings(self) -> Rows:
        return Rows([row._mapping for row in self._rows], self.rowcount)


class SqlalchemyConnection(Connection):
    """One connection of this driver."""

    __slots__ = ("_connection",)

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(
        self, statement: TextClause, values: Mapping[str, Any] | None = None, /
    ) -> Rows:
        result = await self._connection.execute(statement, values)
        if not result.returns_rows:
            return Rows((), result.rowcount)
        rows = result.all()
        return SqlalchemyRows(rows, len(rows))

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        return self._connection.begin_nested()


class SqlalchemyPool:
    """Implements Pool."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._each_alone = engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def held_count(self) -> int:
        return int(self._engine.pool.checkedout())  # type: ignore[attr-defined]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlalchemyConnection]:
        async with self._engine.begin() as connection:
            yield SqlalchemyConnection(connection)

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[SqlalchemyConnection]:
        async with self._each_alone.connect() as connection:
            yield SqlalchemyConnection(connection)

    async def close(self) -> None:
        await self._engine.dispose()
