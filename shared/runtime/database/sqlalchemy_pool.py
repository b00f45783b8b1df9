"""The same statements through SQLAlchemy: for psycopg, behind PgBouncer."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import Any

import sqlalchemy
from sqlalchemy import TextClause, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.runtime.database.statements import Connection, Rows, Statement

# More than all services have; a text that is made anew each time must not stay for ever.
TEXTS_MAX = 1024


@lru_cache(maxsize=TEXTS_MAX)
def _clause(text: str) -> TextClause:
    """SQLAlchemy compiles a text once, as long as it is the same object."""
    return sqlalchemy.text(text)


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
        self, statement: Statement, values: Mapping[str, Any] | None = None, /
    ) -> Rows:
        result = await self._connection.execute(_clause(statement.text), values)
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


def open_pool(
    url: str,
    *,
    pool_size: int,
    settings: Mapping[str, str],
    wait_seconds: float,
    connect_seconds: int,
) -> SqlalchemyPool:
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        pool_pre_ping=True,
        pool_recycle=1800,
        # Parameters are personal data now and then; error messages end in logs.
        hide_parameters=True,
        connect_args={
            "options": options,
            "connect_timeout": connect_seconds,
            # Sites behind PgBouncer cannot keep prepared statements.
            "prepare_threshold": None,
        },
    )
    return SqlalchemyPool(engine)


def is_lost_connection(error: BaseException) -> bool:
    """Whether SQLAlchemy says that no connection was to be had, or that it broke.

    A driver's refusal of a value looks alike, and is the message's own fault.
    """
    if isinstance(error, exc.TimeoutError):
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, exc.InterfaceError | exc.OperationalError) and _state(error) is None:
        causes = (error.orig, getattr(error.orig, "__cause__", None))
        return not any(isinstance(it, ValueError | TypeError | OverflowError) for it in causes)
    return False


def _state(error: exc.DBAPIError) -> Any:
    return getattr(error.orig, "sqlstate", None)
