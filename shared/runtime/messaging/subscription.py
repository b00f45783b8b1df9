"""Which partitions are ours and where we stand in each: Kafka assigns, the database positions."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from shared.runtime.database.database import Database
from shared.runtime.database.unit_of_work import Item
from shared.runtime.ground import crash_points
from shared.runtime.ground.metrics import POSITION_OUT_OF_LOG
from shared.runtime.ground.waiting import unless_stopping
from shared.runtime.messaging.consumer import Consumer, Place
from shared.runtime.messaging.positions import (
    Partition,
    begin_positions,
    move_positions,
    read_positions,
)

log = structlog.get_logger(__name__)

# How long a rebalance waits for the batch in flight; its positions are fenced anyway.
REVOKE_WAIT_SECONDS = 5.0
LOG_BOUNDS_SECONDS = 5.0

Moves = dict[Partition, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Taken:
    """Records to apply, and where we stood when they were taken.

    A rebalance during the work does not change that: it is the old value of the guard.
    """

    records: Sequence[ConsumerRecord]
    stood_at: Mapping[Partition, int]

    def moves(self, unresolved: Iterable[Place]) -> Moves:
        """Per partition from where we stood to behind the last record that is done.

        A partition where nothing is done yet is guarded all the same.
        """
        stops: dict[Partition, int] = {}
        for place in unresolved:
            partition = (place.topic, place.partition)
            stops[partition] = min(place.offset, stops.get(partition, place.offset))
        reached: dict[Partition, int] = {}
        for record in self.records:
            partition = (record.topic, record.partition)
            reached[partition] = max(record.offset + 1, reached.get(partition, 0))
        return {
            partition: (self.stood_at[partition], min(offset, stops.get(partition, offset)))
            for partition, offset in sorted(reached.items())
        }


class Subscription(ConsumerRebalanceListener):  # type: ignore[misc]
    """Knows the next offset of every partition it may take records from."""

    def __init__(self, kafka: AIOKafkaConsumer, database: Database, consumer: Consumer) -> None:
        self._kafka = kafka
        self._database = database
        self._consumer = consumer
        # What Kafka has given us; nothing between a revocation and the next assignment.
        self._owned: frozenset[TopicPartition] = frozenset()
        self._next: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self._is_stale = True
        self._idle = asyncio.Event()
        self._idle.set()
        self.has_joined = False

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Note it, and give the batch in flight a bounded time to finish."""
        self._owned = frozenset()
        self.forget()
        try:
            await asyncio.wait_for(self._idle.wait(), REVOKE_WAIT_SECONDS)
        except TimeoutError:
            log.info("revoked_while_busy", consumer=self._consumer.name)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._owned = frozenset(assigned)
        self.has_joined = True
        self.forget()

    def forget(self) -> None:
        """Take nothing more until the stored positions were read and sought again."""
        self._is_stale = True
        self._next = {}

    @contextmanager
    def busy(self) -> Iterator[None]:
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    async def follow(self, stopping: asyncio.Event) -> None:
        """After a change: read the stored positions of what is ours, and seek to them.

        Raises Stopping, and whatever Kafka or the database raises; then it is to be called again.
        """
        if not self._is_stale or not self._owned:
            return
        owned = self._owned
        self._is_stale = False
        try:
            positions = await self._positions_of(owned, stopping)
        except BaseException:
            self.forget()
            raise
        # A rebalance during the reads made all of this void; the next round reads again.
        if self._is_stale:
            return
        for (topic, number), offset in positions.items():
            self._kafka.seek(TopicPartition(topic, number), offset)
        self._next = positions

    def take(self, fetched: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> Taken:
        """The records to apply, in log order; those of partitions we do not stand in are left."""
        records = [
            record
            for place, records in fetched.items()
            for record in records
            if record.offset >= self._next.get((place.topic, place.partition), record.offset + 1)
        ]
        return Taken(records=records, stood_at=dict(self._next))

    def moved(self, moves: Moves) -> None:
        """The transaction with these moves committed."""
        for partition, (_, offset) in moves.items():
            if partition in self._next:
                self._next[partition] = offset

    async def notice_moves(self) -> None:
        """Forget where we stand if somebody moved a stored position while nothing came.

        A batch notices by its guard; an operator who resets positions must not wait for one.
        """
        standing = dict(self._next)
        if not standing:
            return
        async with self._database.transaction() as unit:
            stored = await read_positions(unit.connection, self._consumer.name, standing)
        if stored != standing:
            log.warning("positions_moved", consumer=self._consumer.name)
            self.forget()

    async def commit_to_kafka(self, *, timeout_seconds: float) -> None:
        """Write the offsets where lag tools look for them; nothing reads them back."""
        positions = dict(self._next)
        if not positions or positions == self._committed:
            return
        crash_points.reach("dispatch.before_offset_commit")
        offsets = {TopicPartition(*partition): offset for partition, offset in positions.items()}
        try:
            await asyncio.wait_for(self._kafka.commit(offsets), timeout_seconds)
            self._committed = positions
        except (KafkaError, TimeoutError) as error:
            log.debug("offsets_not_committed", error=repr(error))

    def positions(self) -> dict[Partition, int]:
        """The next offset of each partition that we stand in."""
        return dict(self._next)

    def lag(self) -> dict[Partition, int]:
        """Records between our position and the end of each partition, where it is known."""
        lag: dict[Partition, int] = {}
        for (topic, partition), offset in self._next.items():
            end = self._kafka.highwater(TopicPartition(topic, partition))
            if end is not None:
                lag[(topic, partition)] = max(0, end - offset)
        return lag

    async def _positions_of(
        self, owned: Iterable[TopicPartition], stopping: asyncio.Event
    ) -> dict[Partition, int]:
        name = self._consumer.name
        partitions = [(place.topic, place.partition) for place in owned]
        async with self._database.transaction() as unit:
            stored = await read_positions(unit.connection, name, partitions)
        # The bounds are asked afterwards: a position grows with the log, so one that was read
        # first never lies behind an end that was read later.
        bounds = await unless_stopping(stopping, self._log_bounds(owned))
        missing = {place: first for place, (first, _) in bounds.items() if place not in stored}
        outside = {
            place: (offset, bounds[place][0])
            for place, offset in sorted(stored.items())
            if not bounds[place][0] <= offset <= bounds[place][1]
        }
        if missing or outside:
            async with self._database.transaction() as unit:
                stored |= await begin_positions(unit.connection, name, missing)
                await move_positions(unit.connection, name, outside)
                await unit.open_items([_item(name, *entry) for entry in outside.items()])
            self._tell_outside(outside)
        return stored | {place: beginning for place, (_, beginning) in outside.items()}

    async def _log_bounds(
        self, owned: Iterable[TopicPartition]
    ) -> dict[Partition, tuple[int, int]]:
        async with asyncio.timeout(LOG_BOUNDS_SECONDS):
            beginnings = await self._kafka.beginning_offsets(list(owned))
            ends = await self._kafka.end_offsets(list(owned))
        return {(place.topic, place.partition): (beginnings[place], ends[place]) for place in owned}

    def _tell_outside(self, outside: Moves) -> None:
        for (topic, number), (stored, beginning) in outside.items():
            POSITION_OUT_OF_LOG.labels(consumer=self._consumer.name, topic=topic).inc()
            log.error(
                "position_out_of_log",
                consumer=self._consumer.name,
                topic=topic,
                partition=number,
                stored=stored,
                beginning=beginning,
            )


def _item(consumer: str, partition: Partition, move: tuple[int, int]) -> Item:
    topic, number = partition
    stored, beginning = move
    return Item("position_out_of_log", f"{consumer}:{topic}/{number}", f"{stored} -> {beginning}")
