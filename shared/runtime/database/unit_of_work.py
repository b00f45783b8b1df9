"""One local transaction: state, outbox rows and operator items commit together or not at all."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

import msgspec

from shared.kernel.clock import Clock
from shared.kernel.events import Envelope, Event, encode_body, header_pairs
from shared.kernel.ids import event_id, new_id
from shared.kernel.transitions import State, Transitions
from shared.runtime.database.statements import Connection, text
from shared.runtime.ground.metrics import count_transitions

# Kafka refuses records over 1 MB; ours are below 1 kB, so a larger body is a fault of ours.
BODY_BYTES_MAX = 64 * 1024

# `sent_at` tells processes of the revision before that this is not theirs to send.
INSERT_OUTBOX = text(
    """
    WITH stored AS (
        INSERT INTO outbox (event_id, topic, key, headers, body, sent_at)
        SELECT event_id, topic, key, headers, body, now()
        FROM unnest(CAST(:event_ids AS uuid[]), CAST(:topics AS text[]), CAST(:keys AS text[]),
                    CAST(:headers AS text[]), CAST(:bodies AS bytea[]))
             WITH ORDINALITY AS row (event_id, topic, key, headers, body, place)
        ORDER BY place
        RETURNING id, created_at
    )
    INSERT INTO outbox_queue (id, created_at) SELECT id, created_at FROM stored
    """
)
REPEAT = text(
    """
    UPDATE outbox SET resend_at = now()
    WHERE event_id = ANY(CAST(:event_ids AS uuid[]))
    RETURNING event_id
    """
)
OPEN_ITEMS = text(
    """
    INSERT INTO operator_item (id, kind, reference, detail)
    SELECT id, kind, reference, detail
    FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:references AS text[]),
                CAST(:details AS text[])) AS row (id, kind, reference, detail)
    ON CONFLICT (kind, reference) WHERE closed_at IS NULL DO NOTHING
    """
)


class Item(msgspec.Struct, frozen=True):
    """Something that a person must look at; open once per kind and reference."""

    kind: str
    reference: str
    detail: str


class OutboxRow(msgspec.Struct, frozen=True):
    """One encoded event, ready to be stored and sent."""

    event_id: UUID
    topic: str
    key: str
    headers: str
    body: bytes


class StatementUnit:
    """What a single statement works in. It commits by itself, so nothing may wait for an end:

    what is emitted, opened or called "at the end" has no place here, and no method.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def count_moves(self, table: Transitions[State], steps: Iterable[tuple[State, State]]) -> None:
        """Count the moves among these states (before, after), which the statement has stored."""
        count_transitions(table, _moves(steps))


class Unit(StatementUnit):
    """What a use case works in. Events are kept until the boundary flushes them after the state:

    inserted behind the guarded update, the outbox order of an aggregate is its version order.
    """

    def __init__(self, connection: Connection, *, source: str, clock: Clock) -> None:
        super().__init__(connection)
        self.clock = clock
        self.has_sendable = False
        self._source = source
        self._pending: list[OutboxRow] = []
        self._at_end: list[Callable[[bool], None]] = []

    def emit(
        self,
        body: Event,
        *,
        subject: UUID,
        sequence: int,
        correlation_id: UUID,
        causation_id: UUID | None = None,
        traceparent: str | None = None,
    ) -> UUID:
        """Tell that row `subject` reached version `sequence`; returns the event id.

        Raises ValueError where the body is larger than 64 KiB.
        """
        envelope = Envelope(
            event_id=event_id(body.type, subject, sequence),
            type=body.type,
            source=f"songhe/{self._source}",
            time=self.clock.now(),
            subject=subject,
            sequence=sequence,
            schema_version=body.version,
            correlation_id=correlation_id,
            causation_id=causation_id,
            traceparent=traceparent,
        )
        self._pending.append(outbox_row(envelope, body))
        return envelope.event_id

    async def repeat(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Tell again, with the original id, sequence and body, what is still in the outbox.

        Returns the ids that retention has removed: their teller must emit them once more.
        """
        if not event_ids:
            return set()
        rows = await self.connection.execute(REPEAT, {"event_ids": list(event_ids)})
        found = {row.event_id for row in rows}
        self.has_sendable |= bool(found)
        return set(event_ids) - found

    async def open_items(self, items: Sequence[Item]) -> None:
        """Open operator items; one that is already open for the same reference stays as it is."""
        if not items:
            return
        await self.connection.execute(
            OPEN_ITEMS,
            {
                "ids": [new_id() for _ in items],
                "kinds": [item.kind for item in items],
                "references": [item.reference for item in items],
                "details": [item.detail for item in items],
            },
        )

    def at_end(self, call: Callable[[bool], None]) -> None:
        """Call this once after the end, with whether what was written here is committed.

        False also where nobody knows, because the connection broke at the commit.
        """
        self._at_end.append(call)

    def when_committed(self, call: Callable[[], None]) -> None:
        """Call this once what was written here is known to be committed."""
        self.at_end(lambda is_committed: call() if is_committed else None)

    def count_moves(self, table: Transitions[State], steps: Iterable[tuple[State, State]]) -> None:
        """Count the moves among these states (before, after) once they are committed."""
        moves = _moves(steps)
        if moves:
            self.when_committed(partial(count_transitions, table, moves))

    def tell_end(self, *, is_committed: bool, since: int = 0) -> None:
        """Make the calls registered after the first `since`; called by the boundary."""
        calls = self._at_end[since:]
        del self._at_end[since:]
        for call in calls:
            call(is_committed)

    async def flush(self) -> None:
        """Write the events emitted so far; called by the boundary."""
        rows, self._pending = self._pending, []
        if not rows:
            return
        self.has_sendable = True
        await self.connection.execute(
            INSERT_OUTBOX,
            {
                "event_ids": [row.event_id for row in rows],
                "topics": [row.topic for row in rows],
                "keys": [row.key for row in rows],
                "headers": [row.headers for row in rows],
                "bodies": [row.body for row in rows],
            },
        )

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that can fail alone: its state, and the events it emitted, roll back together."""
        await self.flush()
        begun = len(self._at_end)
        async with self.connection.savepoint():
            try:
                yield
                await self.flush()
            except BaseException:
                self._pending.clear()
                self.tell_end(is_committed=False, since=begun)
                raise


def _moves(steps: Iterable[tuple[State, State]]) -> Counter[tuple[State, State]]:
    return Counter(step for step in steps if step[0] is not step[1])


def outbox_row(envelope: Envelope, body: Event) -> OutboxRow:
    """Encode one event. Raises ValueError where the body is larger than 64 KiB."""
    encoded = encode_body(body)
    if len(encoded) > BODY_BYTES_MAX:
        raise ValueError(f"{body.type} has {len(encoded)} bytes, more than {BODY_BYTES_MAX}")
    return OutboxRow(
        event_id=envelope.event_id,
        topic=body.topic,
        key=body.record_key,
        headers=msgspec.json.encode(header_pairs(envelope)).decode(),
        body=encoded,
    )
