"""Reading the outbox and its queue; what commits is sent, in the order of each aggregate.

What is unsent has a row in the queue, which goes when the broker has acknowledged it. It is never
found by `id > last`: a transaction that commits late would be passed over by such a cursor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from shared.runtime.database.database import Database
from shared.runtime.database.statements import Connection, Statement, text

COLUMNS = "id, created_at, event_id, topic, key, headers, body, now() AS read_at"
# One look-up for each queued row, whatever the planner believes of tables that young.
UNSENT = f"""
    SELECT stored.* FROM (
        SELECT id, created_at FROM outbox_queue {{condition}} ORDER BY id LIMIT :row_count
    ) AS queued
    CROSS JOIN LATERAL (
        SELECT {COLUMNS} FROM outbox
        WHERE outbox.created_at = queued.created_at AND outbox.id = queued.id LIMIT 1
    ) AS stored
    ORDER BY queued.id
    """
SELECT_UNSENT = text(UNSENT.format(condition=""))
SELECT_RESEND = text(
    f"""
    SELECT {COLUMNS} FROM outbox
    WHERE resend_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM outbox_queue AS queued WHERE queued.id = outbox.id)
    ORDER BY id LIMIT :row_count
    """
)
MARK_SENT = text("DELETE FROM outbox_queue WHERE id = ANY(CAST(:ids AS bigint[]))")
# One trip for both: the rows that are deleted here are still there for the same statement.
MARK_AND_SELECT = text(
    f"WITH marked AS ({MARK_SENT.text})"
    + UNSENT.format(condition="WHERE id NOT IN (SELECT unnest(CAST(:ids AS bigint[])))")
)
# A wish to send again that came after this reading is kept.
MARK_RESENT = text(
    """
    UPDATE outbox SET resend_at = NULL
    WHERE id = ANY(CAST(:ids AS bigint[])) AND resend_at <= :read_at
      AND created_at BETWEEN :oldest AND :newest
    """
)
MEASURE = text(
    """
    SELECT count(*) AS unsent,
           coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_age_seconds
    FROM (SELECT created_at FROM outbox_queue ORDER BY id LIMIT :limit) AS unsent
    """
)
# Counting more than this would cost more than the figure is worth.
UNSENT_COUNT_MAX = 100_000

_headers_decoder = msgspec.json.Decoder(list[tuple[str, str]])


class Sendable(msgspec.Struct, frozen=True):
    """One outbox row as the relay sends it."""

    id: int
    created_at: datetime
    event_id: UUID
    topic: str
    key: bytes
    headers: list[tuple[str, bytes]]
    body: bytes
    read_at: datetime


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How much waits, and for how long; rows that are told again do not count."""

    unsent_count: int
    oldest_age_seconds: float


async def read_unsent(
    connection: Connection, row_count: int, *, mark: Sequence[Sendable] = ()
) -> list[Sendable]:
    """The oldest rows that never went out; those of `mark` went out, and are marked with it."""
    if mark:
        return await _read(
            connection, MARK_AND_SELECT, row_count, {"ids": [row.id for row in mark]}
        )
    return await _read(connection, SELECT_UNSENT, row_count)


async def read_resend(connection: Connection, row_count: int) -> list[Sendable]:
    """Rows that went out before and are wanted again."""
    return await _read(connection, SELECT_RESEND, row_count)


async def mark_sent(connection: Connection, rows: Sequence[Sendable], *, again: bool) -> None:
    """Remember that the broker acknowledged these rows."""
    if not rows:
        return
    if again:
        times = [row.created_at for row in rows]
        wished = {"read_at": rows[0].read_at, "oldest": min(times), "newest": max(times)}
        await connection.execute(MARK_RESENT, {"ids": [row.id for row in rows], **wished})
    else:
        await connection.execute(MARK_SENT, {"ids": [row.id for row in rows]})


async def measure(connection: Connection) -> OutboxState:
    """Count what waits (at most 100,000) and the age of its oldest row in seconds."""
    row = (await connection.execute(MEASURE, {"limit": UNSENT_COUNT_MAX})).one()
    return OutboxState(unsent_count=row.unsent, oldest_age_seconds=row.oldest_age_seconds)


@dataclass(frozen=True, slots=True)
class Range:
    """Which events to send again: by id, by outbox number, or by the time they were written."""

    event_ids: Sequence[UUID] = ()
    first_id: int | None = None
    last_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None


# In steps, since a range may hold two weeks: one statement would run into its time-out.
RESEND = text(
    """
    WITH chosen AS (
        SELECT created_at, id FROM outbox
        WHERE NOT EXISTS (SELECT FROM outbox_queue AS queued WHERE queued.id = outbox.id)
          AND (created_at, id) > (CAST(:after_time AS timestamptz), CAST(:after_id AS bigint))
          AND (CAST(:event_ids AS uuid[]) IS NULL OR event_id = ANY(CAST(:event_ids AS uuid[])))
          AND (CAST(:first_id AS bigint) IS NULL OR id >= :first_id)
          AND (CAST(:last_id AS bigint) IS NULL OR id <= :last_id)
          AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
          AND (CAST(:until AS timestamptz) IS NULL OR created_at < :until)
        ORDER BY created_at, id LIMIT :row_count
        FOR UPDATE OF outbox
    )
    UPDATE outbox SET resend_at = now() FROM chosen
    WHERE outbox.created_at = chosen.created_at AND outbox.id = chosen.id
    RETURNING outbox.created_at, outbox.id
    """
)
RESEND_STEP_ROWS = 5_000
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


async def resend(database: Database, chosen: Range) -> int:
    """Ask the relay to send a range again, original ids and bodies; returns how many rows.

    They go out when no row waits that never went out. Consumers know them by their inbox.
    """
    after: tuple[datetime, int] = (BEGINNING, 0)
    total_count = 0
    while True:
        rows = await _resend_step(database, chosen, after)
        total_count += len(rows)
        if len(rows) < RESEND_STEP_ROWS:
            return total_count
        after = max(rows)


async def _resend_step(
    database: Database, chosen: Range, after: tuple[datetime, int]
) -> list[tuple[datetime, int]]:
    async with database.transaction() as unit:
        result = await unit.connection.execute(
            RESEND,
            {
                "after_time": after[0],
                "after_id": after[1],
                "event_ids": list(chosen.event_ids) or None,
                "first_id": chosen.first_id,
                "last_id": chosen.last_id,
                "since": chosen.since,
                "until": chosen.until,
                "row_count": RESEND_STEP_ROWS,
            },
        )
        rows = [(row.created_at, row.id) for row in result]
        unit.has_sendable = bool(rows)
        return rows


async def _read(
    connection: Connection,
    statement: Statement,
    row_count: int,
    values: Mapping[str, object] | None = None,
) -> list[Sendable]:
    rows = await connection.execute(statement, {"row_count": row_count, **(values or {})})
    return [
        Sendable(
            id=row_id,
            created_at=created_at,
            event_id=event_id,
            topic=topic,
            key=key.encode(),
            headers=[(name, value.encode()) for name, value in _headers_decoder.decode(headers)],
            body=bytes(body),
            read_at=read_at,
        )
        for row_id, created_at, event_id, topic, key, headers, body, read_at in rows
    ]
