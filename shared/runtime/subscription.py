"""Which partitions are ours and where we stand in each: Kafka assigns, the database positions."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from shared.runtime.consumer import Consumer, Place
from shared.runtime.database import Database
from shared.runtime.metrics import POSITION_OUT_OF_LOG
from shared.runtime.positions import Partition, move_positions, read_positions
from shared.runtime.unit_of_work import Item

log = structlog.get_logger(__name__)

# How long a rebalance waits for the batch in flight; its positions are fenced anyway.
REVOKE_WAIT_SECONDS = 5.0

Moves = dict[Partition, tuple[int, int]]


class Subscription(ConsumerRebalanceListener):  # type: ignore[misc]
    """Knows the next offset of every partition it may take records from."""

    def __init__(self, kafka: AIOKafkaConsumer, database: Database, consumer: Consumer) -> None:
        self._kafka = kafka
        self._database = database
        self._consumer = consumer
        self._next: dict[Partition, int] = {}
        self._stale = True
        self._idle = asyncio.Event()
        self._idle.set()
        self.has_joined = False

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Note it, and give the batch in flight a bounded time to finish."""
        self.forget()
        try:
            await asyncio.wait_for(self._idle.wait(), REVOKE_WAIT_SECONDS)
        except TimeoutError:
            log.info("revoked_while_busy", consumer=self._consumer.name)
        self.forget()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.has_joined = True
        self.forget()

    def forget(self) -> None:
        """Take nothing more until the stored positions were read and sought again."""
        self._stale = True
        self._next = {}

    @contextmanager
    def busy(self) -> Iterator[None]:
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    async def follow(self) -> None:
        """After a change: read the stored positions of what is ours, and seek to them."""
        if not self._stale:
            return
        assigned = self._kafka.assignment()
        if not assigned:
            return
        self._stale = False
        beginnings = await self._kafka.beginning_offsets(list(assigned))
        ends = await self._kafka.end_offsets(list(assigned))
        log_bounds = {
            (place.topic, place.partition): (beginnings[place], ends[place]) for place in assigned
        }
        stored = await self._stored_positions(log_bounds)
        # A rebalance during the reads made all of this void; the next round reads again.
        if self._stale or self._kafka.assignment() != assigned:
            self._stale = True
            return
        for (topic, partition), offset in stored.items():
            self._kafka.seek(TopicPartition(topic, partition), offset)
        self._next = stored

    def expected(
        self, fetched: Mapping[TopicPartition, Sequence[ConsumerRecord]]
    ) -> list[ConsumerRecord]:
        """The records to apply, in log order; those of partitions we do not stand in are left."""
        return [
            record
            for place, records in fetched.items()
            for record in records
            if record.offset >= self._next.get((place.topic, place.partition), record.offset + 1)
        ]

    def moves(self, records: Sequence[ConsumerRecord], unresolved: Iterable[Place]) -> Moves:
        """Per partition from where we stood to behind the last record that is done."""
        stop: dict[Partition, int] = {}
        for place in unresolved:
            partition = (place.topic, place.partition)
            stop[partition] = min(place.offset, stop.get(partition, place.offset))
        reached: dict[Partition, int] = defaultdict(int)
        for record in records:
            partition = (record.topic, record.partition)
            reached[partition] = max(reached[partition], record.offset + 1)
        moves = {
            partition: (self._next[partition], min(offset, stop.get(partition, offset)))
            for partition, offset in reached.items()
            if partition in self._next
        }
        return {place: move for place, move in sorted(moves.items()) if move[0] != move[1]}

    def moved(self, moves: Moves) -> None:
        """The transaction with these moves committed."""
        for partition, (_, offset) in moves.items():
            if partition in self._next:
                self._next[partition] = offset

    async def commit_to_kafka(self) -> None:
        """Write the offsets where lag tools look for them; nothing reads them back."""
        offsets = {
            TopicPartition(topic, partition): offset
            for (topic, partition), offset in self._next.items()
        }
        if not offsets:
            return
        try:
            await asyncio.wait_for(self._kafka.commit(offsets), 2.0)
        except (KafkaError, TimeoutError) as error:
            log.debug("offsets_not_committed", error=repr(error))

    def lag(self) -> dict[Partition, int]:
        """Records between our position and the end of each partition, where it is known."""
        lag: dict[Partition, int] = {}
        for (topic, partition), offset in self._next.items():
            end = self._kafka.highwater(TopicPartition(topic, partition))
            if end is not None:
                lag[(topic, partition)] = max(0, end - offset)
        return lag

    async def _stored_positions(
        self, log_bounds: Mapping[Partition, tuple[int, int]]
    ) -> dict[Partition, int]:
        name = self._consumer.name
        beginnings = {partition: first for partition, (first, _) in log_bounds.items()}
        async with self._database.transaction() as unit:
            stored = await read_positions(unit.connection, name, beginnings)
            outside = {
                partition: (offset, log_bounds[partition][0])
                for partition, offset in sorted(stored.items())
                if not log_bounds[partition][0] <= offset <= log_bounds[partition][1]
            }
            await move_positions(unit.connection, name, outside)
            await unit.open_items(
                [
                    Item("position_out_of_log", f"{name}:{topic}/{number}", f"{old} -> {new}")
                    for (topic, number), (old, new) in outside.items()
                ]
            )
        for (topic, number), (old, new) in outside.items():
            POSITION_OUT_OF_LOG.labels(consumer=name, topic=topic).inc()
            log.error(
                "position_out_of_log",
                consumer=name,
                topic=topic,
                partition=number,
                stored=old,
                beginning=new,
            )
        return stored | {partition: new for partition, (_, new) in outside.items()}
