"""Connections to one PostgreSQL database and the boundary that commits.

Everything a service writes happens inside `Database.transaction()`: handlers never commit.
"""

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import TypeVar

import asyncpg

from shared.kernel.clock import Clock, SystemClock
from shared.kernel.errors import Unavailable
from shared.runtime.database.address import parse_address
from shared.runtime.database.asyncpg_pool import AsyncpgPool
from shared.runtime.database.statements import Connection, Pool
from shared.runtime.database.unit_of_work import StatementUnit, Unit

# A statement or a wait for a lock that takes longer is given up and tried again from the start.
STATEMENT_TIMEOUT = timedelta(seconds=10)
LOCK_TIMEOUT = timedelta(seconds=5)
# A transaction that idles holds back vacuum and the locks of others.
IDLE_IN_TRANSACTION_TIMEOUT = timedelta(seconds=15)
POOL_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 5

# Connection, rollback (serialization, deadlock), resources, operator intervention, system
# and internal errors: the same work may succeed later (PostgreSQL appendix A).
TRANSIENT_CLASSES = ("08", "40", "53", "57", "58", "XX")
LOCK_NOT_AVAILABLE = "55P03"
# And read-only after a failover, idle-in-transaction time-out.
TRANSIENT_STATES = (LOCK_NOT_AVAILABLE, "25006", "25P03")


Opened = TypeVar("Opened")
Wrapped = TypeVar("Wrapped")


class Database:
    """A pool of connections; what belongs together is written in `transaction()`."""

    def __init__(self, pool: Pool, *, source: str, clock: Clock) -> None:
        self.pool = pool
        self._source = source
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []

    def on_outbox_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit in this process that left something to send."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Unit]:
        """One transaction: committed at the end of the block, rolled back on any exception."""
        unit: Unit | None = None
        is_committed = False
        try:
            async with self.pool.transaction() as connection:
                unit = Unit(connection, source=self._source, clock=self._clock)
                yield unit
                await unit.flush()
            is_committed = True
        finally:
            if unit is not None:
                unit.tell_end(is_committed=is_committed)
        if unit.has_sendable:
            for listener in self._listeners:
                listener()

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Connection]:
        """A connection on which each statement is a transaction of its own: one trip, not three."""
        async with self.pool.statements() as connection:
            yield connection

    @asynccontextmanager
    async def one_statement(self) -> AsyncIterator[StatementUnit]:
        """A unit for a single statement, which commits by itself."""
        async with self.pool.statements() as connection:
            yield StatementUnit(connection)

    async def close(self) -> None:
        await self.pool.close()


def units_of(
    open_unit: Callable[[], AbstractAsyncContextManager[Opened]], wrap: Callable[[Opened], Wrapped]
) -> Callable[[], AbstractAsyncContextManager[Wrapped]]:
    """Opens the units of `open_unit` as a service sees them: with its own repositories."""

    @asynccontextmanager
    async def wrapped() -> AsyncIterator[Wrapped]:
        async with open_unit() as unit:
            yield wrap(unit)

    return wrapped


def open_database(
    url: str,
    *,
    source: str,
    pool_size: int,
    clock: Clock | None = None,
    statement_timeout: timedelta = STATEMENT_TIMEOUT,
) -> Database:
    """Open a lazy pool of at most `pool_size` connections; nothing connects before first use.

    `source` becomes the CloudEvents source of everything emitted. The driver is named by the
    URL: `postgresql+asyncpg://` or `postgresql+psycopg://`; the same statements run on both.
    """
    address = parse_address(url)
    settings = _settings(source, statement_timeout)
    pool: Pool
    if address.driver == "asyncpg":
        pool = AsyncpgPool(
            address,
            pool_size=pool_size,
            settings=settings,
            wait_seconds=POOL_TIMEOUT_SECONDS,
            connect_seconds=CONNECT_TIMEOUT_SECONDS,
            command_seconds=statement_timeout.total_seconds() + 2,
        )
    else:
        # Imported by those who chose it: it is a third of an idle worker's memory.
        from shared.runtime.database.sqlalchemy_pool import open_pool

        pool = open_pool(
            url,
            pool_size=pool_size,
            settings=settings,
            wait_seconds=POOL_TIMEOUT_SECONDS,
            connect_seconds=CONNECT_TIMEOUT_SECONDS,
        )
    return Database(pool, source=source, clock=clock or SystemClock())


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed later: the reason lies outside of the message."""
    if isinstance(error, Unavailable | TimeoutError | OSError) or _is_lost_connection(error):
        return True
    state = sqlstate(error)
    return state is not None and (state[:2] in TRANSIENT_CLASSES or state in TRANSIENT_STATES)


def sqlstate(error: BaseException) -> str | None:
    """The five characters by which PostgreSQL names an error, whatever the driver."""
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    return state if isinstance(state, str) else None


def _is_lost_connection(error: BaseException) -> bool:
    """Drivers give no SQLSTATE for a connection that broke, nor for a value they cannot send.

    The second is the message's own fault: asyncpg's DataError is an InterfaceError as well. A
    connection that is cut off in the middle of an answer leaves asyncpg in a state of its own.
    """
    if isinstance(error, asyncpg.InternalClientError):
        return True
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError | TypeError | OverflowError)
    # Its errors come only where it is loaded.
    if "sqlalchemy.exc" in sys.modules:
        from shared.runtime.database import sqlalchemy_pool

        return sqlalchemy_pool.is_lost_connection(error)
    return False


def _settings(source: str, statement_timeout: timedelta) -> Mapping[str, str]:
    return {
        "application_name": f"songhe-{source}",
        "statement_timeout": _milliseconds(statement_timeout),
        "lock_timeout": _milliseconds(LOCK_TIMEOUT),
        "idle_in_transaction_session_timeout": _milliseconds(IDLE_IN_TRANSACTION_TIMEOUT),
        "timezone": "UTC",
        # Statements are planned once for a table that grows: what is best while it is empty reads
        # all of it an hour later. Compiling them would cost more than running them, and planning
        # them again for each set of values about a tenth of it.
        "enable_seqscan": "off",
        "jit": "off",
        "plan_cache_mode": "force_generic_plan",
    }


def _milliseconds(duration: timedelta) -> str:
    return str(int(duration.total_seconds() * 1000))
