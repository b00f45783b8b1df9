"""Retention, and the outbox's daily partitions: what is old goes, in small steps.

Topics and sent outbox rows 14 days, inbox 30 days, idempotency keys 48 hours.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta

import structlog

from shared.kernel.clock import Clock
from shared.runtime.database.database import Database
from shared.runtime.database.statements import Connection, Statement, text
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.ground.metrics import DEAD_LETTERS_OPEN, OPERATOR_ITEMS_OPEN
from shared.runtime.messaging.dead_letters import count_open
from shared.runtime.messaging.tables import OUTBOX_STORAGE

log = structlog.get_logger(__name__)

OUTBOX_RETENTION = timedelta(days=14)
INBOX_RETENTION = timedelta(days=30)
IDEMPOTENCY_RETENTION = timedelta(hours=48)
# Rows find a partition even if no worker runs for three days; later ones go to the default one.
# Each partition is looked into at every look for unsent rows.
PARTITIONS_AHEAD = 3
DELETE_ROWS_MAX = 5_000
# Making or dropping a partition locks the whole outbox: rather later than in everybody's way.
LOCK_OUTBOX = text("SET LOCAL lock_timeout = '500ms'")
# Two that change partitions would wait for each other: each reads one, and then wants it and the
# outbox for itself. Any number that no other user takes for advisory locks.
ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7264202)")
IDLE_SECONDS = 600.0

EXISTING = text(
    """
    SELECT child.relname AS name FROM pg_inherits
    JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = CAST('outbox' AS regclass) ORDER BY child.relname
    """
)
STRAYS = text(
    """
    SELECT EXISTS (
        SELECT FROM outbox_rest WHERE created_at >= :day AND created_at < :next) AS some
    """
)
DELETE_INBOX = text(
    """
    DELETE FROM inbox WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM inbox WHERE claimed_at < now() - CAST(:age AS interval) LIMIT :row_count))
    """
)
DELETE_ANSWERS = text(
    """
    DELETE FROM idempotency_key WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM idempotency_key
        WHERE created_at < now() - CAST(:age AS interval) LIMIT :row_count))
    """
)
# Rows of days for which no partition was made in time.
DELETE_STRAYS = text(
    """
    DELETE FROM outbox_rest WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM outbox_rest
        WHERE resend_at IS NULL
          AND NOT EXISTS (SELECT FROM outbox_queue AS queued WHERE queued.id = outbox_rest.id)
          AND created_at < now() - CAST(:age AS interval) LIMIT :row_count))
    """
)
ITEMS = text(
    "SELECT kind, count(*) AS item_count FROM operator_item WHERE closed_at IS NULL GROUP BY kind"
)


class Housekeeping:
    """One step keeps everything within its retention; run it in a DueLoop."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def step(self) -> int:
        """Delete at most 5,000 rows of each kind; returns how many kinds have more to delete."""
        today = self._clock.now().astimezone(UTC).date()
        await self.keep_partitions(today)
        has_more = [
            await self._delete(DELETE_STRAYS, OUTBOX_RETENTION),
            await self._delete(DELETE_INBOX, INBOX_RETENTION),
            await self._delete(DELETE_ANSWERS, IDEMPOTENCY_RETENTION),
        ]
        return sum(has_more)

    async def keep_partitions(self, today: date) -> None:
        """Make the partitions of the coming days, drop those that retention has passed."""
        async with self._database.transaction() as unit:
            names = await self._partitions(unit.connection)
        for ahead in range(PARTITIONS_AHEAD + 1):
            day = today + timedelta(days=ahead)
            if _name(day) not in names:
                await self._make_partition(day)
        for name in sorted(names):
            day_of = _day(name)
            if day_of is not None and day_of + OUTBOX_RETENTION < today:
                await self._drop_if_all_sent(name)

    async def _make_partition(self, day: date) -> None:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = start + timedelta(days=1)
        async with self._alone() as unit:
            found = await unit.connection.execute(STRAYS, {"day": start, "next": end})
            if found.one().some:
                log.warning("outbox_partition_late", day=day.isoformat())
                return
            await unit.connection.execute(
                text(
                    f"CREATE TABLE IF NOT EXISTS {_name(day)} PARTITION OF outbox"
                    f" FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
                    f" WITH ({OUTBOX_STORAGE})"
                )
            )

    async def _drop_if_all_sent(self, name: str) -> None:
        async with self._alone() as unit:
            if name not in await self._partitions(unit.connection):
                return
            if await self._has_waiting(unit.connection, name):
                log.warning("outbox_partition_kept", partition=name)
                return
            # Behind this lock nobody can wish anything of it again: look once more, then drop.
            await unit.connection.execute(text("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE"))
            if not await self._has_waiting(unit.connection, name):
                await unit.connection.execute(text(f"DROP TABLE {name}"))

    async def _partitions(self, connection: Connection) -> set[str]:
        return {row.name for row in await connection.execute(EXISTING)}

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Unit]:
        """A transaction beside which no other one makes or drops partitions."""
        async with self._database.transaction() as unit:
            await unit.connection.execute(ONE_AT_A_TIME)
            await unit.connection.execute(LOCK_OUTBOX)
            yield unit

    async def _has_waiting(self, connection: Connection, name: str) -> bool:
        rows = await connection.execute(
            text(
                f"SELECT EXISTS (SELECT FROM {name} JOIN outbox_queue USING (created_at, id))"
                f" OR EXISTS (SELECT FROM {name} WHERE resend_at IS NOT NULL) AS some"
            )
        )
        return bool(rows.one().some)

    async def _delete(self, statement: Statement, age: timedelta) -> bool:
        async with self._database.transaction() as unit:
            result = await unit.connection.execute(
                statement, {"age": age, "row_count": DELETE_ROWS_MAX}
            )
            return result.rowcount >= DELETE_ROWS_MAX


class Gauges:
    """Counts that an SRE watches: open dead letters and operator items."""

    def __init__(self, database: Database, *, consumer: str | None = None) -> None:
        self._database = database
        self._consumer = consumer

    async def step(self) -> int:
        async with self._database.transaction() as unit:
            await self._count_items(unit.connection)
            await self._count_dead_letters(unit.connection)
        return 0

    async def _count_items(self, connection: Connection) -> None:
        OPERATOR_ITEMS_OPEN.clear()
        for row in await connection.execute(ITEMS):
            OPERATOR_ITEMS_OPEN.labels(kind=row.kind).set(row.item_count)

    async def _count_dead_letters(self, connection: Connection) -> None:
        if self._consumer is None:
            return
        found = await count_open(connection, self._consumer)
        for status in ("poison", "held"):
            DEAD_LETTERS_OPEN.labels(consumer=self._consumer, status=status).set(
                found.get(status, 0)
            )


def _name(day: date) -> str:
    return f"outbox_{day:%Y%m%d}"


def _day(name: str) -> date | None:
    match = re.fullmatch(r"outbox_(\d{4})(\d{2})(\d{2})", name)
    return date(*(int(part) for part in match.groups())) if match else None
