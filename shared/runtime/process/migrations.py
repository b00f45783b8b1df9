"""Alembic, run from code: one service's tables, one runner at a time."""

import time
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from shared.kernel.errors import Unavailable
from shared.runtime.process.revisions import head_revision

# Any number that no other user of the database takes for its advisory locks.
MIGRATION_LOCK = 7_264_201
# How long a runner waits in line, and a migration for the locks of its tables.
LOCK_TIMEOUT_SECONDS = 60
CONNECT_TIMEOUT_SECONDS = 5
DATABASE_WAIT_SECONDS = 60.0
DATABASE_POLL_SECONDS = 1.0


def run_migrations(url: str, script_location: Path) -> str:
    """Bring the database to the newest revision and return it; parallel runners wait in line.

    A database that is newer already stays as it is: older code still works with it. Raises
    Unavailable, in one sentence, when no database answers in time or it refuses the role.
    """
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s",
        },
    )
    config = _config(script_location)
    newest = head_revision(script_location)
    try:
        with _connect(engine) as lock:
            lock.execute(text("SELECT pg_advisory_lock(:number)"), {"number": MIGRATION_LOCK})
            with engine.begin() as connection:
                found = MigrationContext.configure(connection).get_current_revision()
                if found is not None and found > newest:
                    return found
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    finally:
        engine.dispose()
    return newest


def _connect(engine: Engine) -> Connection:
    """The database may start at the same time as we do: give it its time."""
    deadline = time.monotonic() + DATABASE_WAIT_SECONDS
    while True:
        try:
            return engine.connect()
        except OperationalError as error:
            reason = str(error.orig).strip().splitlines()[-1]
            if not _may_come(reason) or time.monotonic() > deadline:
                raise Unavailable("database_unavailable", reason) from None
        time.sleep(DATABASE_POLL_SECONDS)


def _may_come(reason: str) -> bool:
    """psycopg gives no SQLSTATE for a refused connection; FATAL is the server's own refusal."""
    return "FATAL" not in reason or "starting up" in reason or "shutting down" in reason


def run_env() -> None:
    """What each service's `migrations/env.py` calls."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


def _config(script_location: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(script_location).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
