"""The inbox: `(consumer, event_id)` is claimed in the transaction of the effect."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text

from shared.runtime.statements import Connection

# In event-id order, so that two consumers of the same name cannot deadlock.
CLAIM = text(
    """
    INSERT INTO inbox (consumer, event_id)
    SELECT :consumer, event_id
    FROM unnest(CAST(:event_ids AS uuid[])) AS wanted (event_id)
    ORDER BY event_id
    ON CONFLICT DO NOTHING
    RETURNING event_id
    """
)
SEEN = text(
    """
    SELECT event_id FROM inbox
    WHERE consumer = :consumer AND event_id = ANY(CAST(:event_ids AS uuid[]))
    """
)


async def claim(connection: Connection, consumer: str, event_ids: Iterable[UUID]) -> set[UUID]:
    """Claim events; returns those that nobody claimed before and that are now ours."""
    wanted = list(event_ids)
    if not wanted:
        return set()
    rows = await connection.execute(CLAIM, {"consumer": consumer, "event_ids": wanted})
    return {row.event_id for row in rows}


async def already_claimed(
    connection: Connection, consumer: str, event_ids: Iterable[UUID]
) -> set[UUID]:
    """Those of the events that were claimed before."""
    wanted = list(event_ids)
    if not wanted:
        return set()
    rows = await connection.execute(SEEN, {"consumer": consumer, "event_ids": wanted})
    return {row.event_id for row in rows}
