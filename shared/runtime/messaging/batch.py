"""One batch of records in one transaction, halved around what fails.

Nearly always nothing fails: the first transaction takes the batch as a whole, without savepoints.
After a failure another one begins, in which every try, the batch and then each half, is a
savepoint around blocked-key look-up, claim, effect and outbox. A dead letter and its blocked key
are written outside the failed savepoint, so that the next half sees them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from shared.kernel.errors import Contradiction, Malformed
from shared.kernel.events import Event, Message
from shared.runtime.database.database import is_transient
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.messaging.consumer import Consumer, Place, Received
from shared.runtime.messaging.dead_letters import blocked_keys, is_settled, park, park_held
from shared.runtime.messaging.inbox import already_claimed, claim, claim_unless_blocked

# Applied, duplicate, held.
Effects = tuple[list[Received], list[Received], list[Received]]

TRIES_MAX = 3
# If everything in a batch of this size fails, the fault is ours, not the records'.
WHOLE_BATCH_COUNT = 10


@dataclass(slots=True)
class Outcome:
    """What became of each record of one try over a batch."""

    applied: list[Received] = field(default_factory=list)
    # Claimed before, or known as a dead letter.
    duplicate: list[Received] = field(default_factory=list)
    held: list[Received] = field(default_factory=list)
    parked: list[tuple[Received, Exception]] = field(default_factory=list)
    # Failed with tries left, and what waits behind it: tried again in a new transaction.
    failed: list[tuple[Received, Exception]] = field(default_factory=list)
    deferred: list[Received] = field(default_factory=list)
    # How many failed in their handler that had not failed beside others that worked.
    first_failure_count: int = 0

    @property
    def unresolved(self) -> list[Place]:
        return [record.place for record, _ in self.failed] + [r.place for r in self.deferred]

    @property
    def is_our_fault(self) -> bool:
        """Nothing worked and many records failed in their handler: park nothing, try again."""
        return not self.applied and self.first_failure_count >= WHOLE_BATCH_COUNT


class Batch:
    """Applies records to one unit of work; `tries` counts earlier failures by place."""

    def __init__(self, unit: Unit, consumer: Consumer, tries: Mapping[Place, int]) -> None:
        self._unit = unit
        self._consumer = consumer
        self._tries = tries
        self._waiting_keys: set[tuple[str, bytes]] = set()
        self.outcome = Outcome()

    async def apply_whole(self, records: Sequence[Received]) -> Outcome:
        """Apply all records or none: whatever fails passes through and ends the transaction."""
        if records:
            self._add(await self._effects(records))
        return self.outcome

    async def apply(self, records: Sequence[Received]) -> Outcome:
        """Apply the records; a transient error passes through and ends the transaction."""
        await self._attempt(records)
        return self.outcome

    async def _attempt(self, records: Sequence[Received]) -> None:
        records = self._without_waiting(records)
        if not records:
            return
        try:
            async with self._unit.savepoint():
                effects = await self._effects(records)
        except Exception as error:
            if is_transient(error):
                raise
            await self._after_failure(records, error)
            return
        self._add(effects)

    def _add(self, effects: Effects) -> None:
        applied, duplicate, held = effects
        self.outcome.applied += applied
        self.outcome.duplicate += duplicate
        self.outcome.held += held

    def _without_waiting(self, records: Sequence[Received]) -> list[Received]:
        waiting = [record for record in records if record.topic_key in self._waiting_keys]
        self.outcome.deferred += waiting
        return [record for record in records if record.topic_key not in self._waiting_keys]

    async def _after_failure(self, records: Sequence[Received], error: Exception) -> None:
        if len(records) == 1:
            await self._single_failure(records[0], error)
            return
        middle = len(records) // 2
        await self._attempt(records[:middle])
        await self._attempt(records[middle:])

    async def _single_failure(self, record: Received, error: Exception) -> None:
        if await is_settled(self._unit, self._consumer, record):
            self.outcome.duplicate.append(record)
            return
        tries = self._tries.get(record.place, 0) + 1
        if tries == 1 and record.malformed is None:
            self.outcome.first_failure_count += 1
        if tries >= tries_allowed(error):
            await park(self._unit, self._consumer, record, error, tries)
            self.outcome.parked.append((record, error))
            return
        self.outcome.failed.append((record, error))
        if self._consumer.hold_back and record.topic_key is not None:
            self._waiting_keys.add(record.topic_key)

    async def _effects(self, records: Sequence[Received]) -> Effects:
        flowing, held, claimed = await self._claim(records)
        fresh, duplicate = _first_of_each(flowing, claimed)
        for together in rounds(fresh):
            for event, messages in together.items():
                await self._consumer.reactions[event](self._unit, messages)
        return fresh, duplicate, held

    async def _claim(
        self, records: Sequence[Received]
    ) -> tuple[Sequence[Received], list[Received], set[UUID]]:
        """What flows, what is held back, and which events are ours now."""
        claimed = await self._claim_where_nothing_is_blocked(records)
        if len(claimed) == len(records):
            return records, [], claimed
        flowing, held = await self._split_by_blocked_keys(records)
        for record in flowing:
            if record.malformed is not None:
                raise record.malformed
        rest = _event_ids(flowing) - claimed
        claimed |= await claim(self._unit.connection, self._consumer.name, rest)
        return flowing, held, claimed

    async def _claim_where_nothing_is_blocked(self, records: Sequence[Received]) -> set[UUID]:
        """In one statement, where the look at what is blocked would be a second one."""
        if not self._consumer.hold_back or any(record.malformed for record in records):
            return set()
        return await claim_unless_blocked(
            self._unit.connection, self._consumer.name, _event_ids(records)
        )

    async def _split_by_blocked_keys(
        self, records: Sequence[Received]
    ) -> tuple[list[Received], list[Received]]:
        if not self._consumer.hold_back:
            return list(records), []
        connection = self._unit.connection
        keys = {record.topic_key for record in records if record.topic_key is not None}
        blocked = await blocked_keys(connection, self._consumer.name, keys)
        if not blocked:
            return list(records), []
        behind = [record for record in records if record.topic_key in blocked]
        seen = await already_claimed(
            connection,
            self._consumer.name,
            {record.event_id for record in behind if record.event_id is not None},
        )
        held = [record for record in behind if record.event_id not in seen]
        await park_held(self._unit, self._consumer, held)
        places = {record.place for record in held}
        return [record for record in records if record.place not in places], held


def tries_allowed(error: Exception) -> int:
    """Trying again does not mend what is malformed or contradicts what is recorded."""
    return 1 if isinstance(error, Malformed | Contradiction) else TRIES_MAX


def rounds(records: Sequence[Received]) -> list[dict[type[Event], list[Message[Event]]]]:
    """Split into rounds in which each key appears once, grouped by type within a round."""
    result: list[dict[type[Event], list[Message[Event]]]] = []
    seen: dict[object, int] = defaultdict(int)
    for record in records:
        assert record.message is not None
        key = record.key if record.key is not None else record.place
        number = seen[key]
        seen[key] += 1
        if number == len(result):
            result.append(defaultdict(list))
        result[number][type(record.message.body)].append(record.message)
    return result


def _event_ids(records: Sequence[Received]) -> set[UUID]:
    return {record.message.envelope.event_id for record in records if record.message}


def _first_of_each(
    records: Sequence[Received], claimed: set[UUID]
) -> tuple[list[Received], list[Received]]:
    fresh: list[Received] = []
    duplicate: list[Received] = []
    left = set(claimed)
    for record in records:
        if record.event_id in left:
            left.remove(record.event_id)
            fresh.append(record)
        else:
            duplicate.append(record)
    return fresh, duplicate
