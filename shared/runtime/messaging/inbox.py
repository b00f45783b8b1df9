"""The inbox: `(consumer, event_id)` is claimed in the transaction of the effect."""

from collections.abc import Iterable
from uuid import UUID

from shared.runtime.database.statements import Connection, Statement, text

# In event-id order, so that two consumers of the same name cannot deadlock.
_CLAIM = """
    INSERT INTO inbox (consumer, event_id)
    SELECT :consumer, event_id
    FROM unnest(CAST(:event_ids AS uuid[])) AS wanted (event_id)
    {where}
    ORDER BY event_id
    ON CONFLICT DO NOTHING
    RETURNING event_id
    """
CLAIM = text(_CLAIM.format(where=""))
# One look less where nothing is held back, which is nearly always.
CLAIM_UNLESS_BLOCKED = text(
    _CLAIM.format(where="WHERE NOT EXISTS (SELECT FROM blocked_key WHERE consumer = :consumer)")
)
SEEN = text(
    """
    SELECT event_id FROM inbox
    WHERE consumer = :consumer AND event_id = ANY(CAST(:event_ids AS uuid[]))
    """
)


async def claim(connection: Connection, consumer: str, event_ids: Iterable[UUID]) -> set[UUID]:
    """Claim events; returns those that nobody claimed before and that are now ours."""
    return await _claim(connection, CLAIM, consumer, event_ids)


async def claim_unless_blocked(
    connection: Connection, consumer: str, event_ids: Iterable[UUID]
) -> set[UUID]:
    """The same, and none at all while any key of the consumer is blocked."""
    return await _claim(connection, CLAIM_UNLESS_BLOCKED, consumer, event_ids)


async def _claim(
    connection: Connection, statement: Statement, consumer: str, event_ids: Iterable[UUID]
) -> set[UUID]:
    wanted = list(event_ids)
    if not wanted:
        return set()
    rows = await connection.execute(statement, {"consumer": consumer, "event_ids": wanted})
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
