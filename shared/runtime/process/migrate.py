"""The `migrate` command: tables and partitions, with as little as the database needs."""

import asyncio
import time
from datetime import UTC

import structlog

from shared.kernel.clock import Clock
from shared.runtime.database.database import (
    LOCK_NOT_AVAILABLE,
    Database,
    open_database,
    sqlstate,
)
from shared.runtime.messaging.housekeeping import Housekeeping
from shared.runtime.process.revisions import head_revision, migrations_of, revision_of

log = structlog.get_logger(__name__)

# How long workers may keep the outbox busy before its partitions are left to them.
PARTITION_WAIT_SECONDS = 60
PARTITION_POLL_SECONDS = 1.0


async def migrate(service: str, url: str, clock: Clock) -> str:
    """What the `migrate` command does: the newest revision, and the outbox's next partitions.

    Workers may be busy with the outbox meanwhile. What they leave no room for within 60 seconds is
    left to their own housekeeping, with a warning: until then rows go to the default partition.
    """
    migrations = migrations_of(service)
    database = open_database(url, source=service, pool_size=1, clock=clock)
    try:
        revision = await _known_revision(database)
        if revision is None or revision < head_revision(migrations):
            # alembic and SQLAlchemy cost more than all the rest: most starts need neither.
            from shared.runtime.process.migrations import run_migrations

            revision = await asyncio.to_thread(run_migrations, url, migrations)
        await _make_partitions(Housekeeping(database, clock), clock)
    finally:
        await database.close()
    return revision


async def _known_revision(database: Database) -> str | None:
    """None too where the database cannot be asked: the migrations wait for it, or say why not."""
    try:
        return await revision_of(database)
    except Exception:
        log.debug("revision_unknown", exc_info=True)
        return None


async def _make_partitions(housekeeping: Housekeeping, clock: Clock) -> None:
    deadline = time.monotonic() + PARTITION_WAIT_SECONDS
    while True:
        try:
            await housekeeping.keep_partitions(clock.now().astimezone(UTC).date())
        except Exception as error:
            if sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
            if time.monotonic() > deadline:
                log.warning("outbox_partitions_left", error=str(error))
                return
            await asyncio.sleep(PARTITION_POLL_SECONDS)
        else:
            return
