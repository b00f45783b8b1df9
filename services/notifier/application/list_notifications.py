"""A person's own inbox, newest first, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.notifier.application.ports import InboxEntry, Place, Transactions


@dataclass(frozen=True, slots=True)
class Page:
    """Entries, and where the next page goes on (None: there is none)."""

    entries: Sequence[InboxEntry]
    next_place: Place | None


async def list_notifications(
    transactions: Transactions, *, person_id: UUID, limit: int, before: Place | None
) -> Page:
    """At most `limit` entries of this person and of nobody else."""
    async with transactions() as unit:
        found = await unit.notifications.inbox_of(person_id, limit=limit + 1, before=before)
    entries = found[:limit]
    if len(found) <= limit:
        return Page(entries, None)
    return Page(entries, Place(entries[-1].occurred_at, entries[-1].id))
