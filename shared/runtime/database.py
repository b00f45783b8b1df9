"""Connections to one PostgreSQL database and the boundary that commits.

Everything a service writes happens inside `Database.transaction()`: handlers never commit.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy import exc
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.kernel.clock import Clock, SystemClock
from shared.kernel.errors import Unavailable
from shared.runtime.unit_of_work import Unit

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
# Lock not available, read-only after a failover, idle-in-transaction time-out.
TRANSIENT_STATES = ("55P03", "25006", "25P03")


class Database:
    """A pool of connections; what belongs together is written in `transaction()`."""

    def __init__(self, engine: AsyncEngine, *, source: str, clock: Clock) -> None:
        self.engine = engine
        self._each_alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._source = source
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []

    def on_outbox_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit in this process that left something to send."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Unit]:
        """One transaction: committed at the end of the block, rolled back on any exception."""
        async with self.engine.begin() as connection:
            unit = Unit(connection, source=self._source, clock=self._clock)
            yield unit
            await unit.flush()
        if unit.has_sendable:
            for listener in self._listeners:
                listener()

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement is a transaction of its own: one trip, not three."""
        async with self._each_alone.connect() as connection:
            yield connection

    async def close(self) -> None:
        await self.engine.dispose()


def open_database(
    url: str,
    *,
    source: str,
    pool_size: int,
    clock: Clock | None = None,
    statement_timeout: timedelta = STATEMENT_TIMEOUT,
    asks_first: bool = True,
) -> Database:
    """Open a lazy pool of at most `pool_size` connections; nothing connects before first use.

    `source` becomes the CloudEvents source of everything emitted. The driver is named by the
    URL: `postgresql+asyncpg://` or `postgresql+psycopg://`; the same statements run on both.
    `asks_first`: whether each transaction begins by asking if its connection still lives. Loops
    that try again anyway save that question.
    """
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_pre_ping=asks_first,
        pool_recycle=1800,
        # Parameters are personal data now and then; error messages end in logs.
        hide_parameters=True,
        connect_args=_connect_args(url, source, statement_timeout),
    )
    return Database(engine, source=source, clock=clock or SystemClock())


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed later: the reason lies outside of the message."""
    if isinstance(error, Unavailable | TimeoutError | OSError | exc.TimeoutError):
        return True
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated:
            return True
        state = sqlstate(error)
        if state is None:
            return _is_lost_connection(error)
        return state[:2] in TRANSIENT_CLASSES or state in TRANSIENT_STATES
    return False


def sqlstate(error: exc.DBAPIError) -> str | None:
    """The five characters by which PostgreSQL names an error, whatever the driver."""
    state = getattr(error.orig, "sqlstate", None)
    return state if isinstance(state, str) else None


def _is_lost_connection(error: exc.DBAPIError) -> bool:
    """Drivers give no SQLSTATE for a connection that broke, nor for a value they cannot send.

    The second is the message's own fault: asyncpg's DataError is an InterfaceError as well.
    """
    causes = (error.orig, getattr(error.orig, "__cause__", None))
    if any(isinstance(cause, ValueError | TypeError | OverflowError) for cause in causes):
        return False
    return isinstance(error, exc.InterfaceError | exc.OperationalError)


def _connect_args(url: str, source: str, statement_timeout: timedelta) -> dict[str, object]:
    settings = {
        "application_name": f"songhe-{source}",
        "statement_timeout": _milliseconds(statement_timeout),
        "lock_timeout": _milliseconds(LOCK_TIMEOUT),
        "idle_in_transaction_session_timeout": _milliseconds(IDLE_IN_TRANSACTION_TIMEOUT),
        "timezone": "UTC",
        # Statements are planned once for a table that grows: what is best while it is empty reads
        # all of it an hour later. Compiling them would cost more than running them.
        "enable_seqscan": "off",
        "jit": "off",
    }
    if make_url(url).get_driver_name() == "asyncpg":
        return {
            "server_settings": settings,
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "command_timeout": statement_timeout.total_seconds() + 2,
        }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    # Sites behind PgBouncer cannot keep prepared statements: prepare_threshold=None.
    return {
        "options": options,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "prepare_threshold": None,
    }


def _milliseconds(duration: timedelta) -> str:
    return str(int(duration.total_seconds() * 1000))
