"""Sends encoded rows with an idempotent producer: `acks=all`, one batch per partition at a time."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from shared.runtime.ground.waiting import unless_stopping
from shared.runtime.messaging.kafka_closing import close_producer
from shared.runtime.messaging.murmur2 import murmur2
from shared.runtime.messaging.outbox import Sendable
from shared.runtime.messaging.topics import require_partitions

# One batch takes about 1,500 of our events; the broker's own limit is 1 MiB.
BATCH_BYTES_MAX = 512 * 1024
# Every in-sync replica has an event before it counts as sent.
ACKS = "all"
REQUEST_TIMEOUT_MS = 4_000
# Answers that are on their way when the process is told to stop save a repetition.
STOP_GRACE_SECONDS = 0.5

Place = tuple[str, int]


class Sender:
    """An AIOKafkaProducer that is thrown away after any error.

    What an old producer may still deliver late are only rows that the new one sends again from
    the oldest unsent on, so first occurrences stay in order.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._producer: AIOKafkaProducer | None = None
        self._partition_counts: dict[str, int] = {}

    async def start(self, stopping: asyncio.Event, *, timeout_seconds: float) -> None:
        """Connect if needed. Raises KafkaError, OSError, TimeoutError or Stopping."""
        if self._producer is not None:
            return
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers,
            enable_idempotence=True,
            acks=ACKS,
            max_batch_size=BATCH_BYTES_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            async with asyncio.timeout(timeout_seconds):
                await unless_stopping(stopping, producer.start())
        except BaseException:
            await close_producer(producer)
            raise
        self._producer = producer

    async def send(
        self, rows: Sequence[Sendable], stopping: asyncio.Event, *, timeout_seconds: float
    ) -> tuple[list[Sendable], BaseException | None]:
        """Send and wait for every answer: the acknowledged rows, and the first error if any.

        Rows that did not fit into their partition's batch are neither; they stay unsent. Raises
        Stopping only while nothing is under way yet.
        """
        deadline = time.monotonic() + timeout_seconds
        try:
            async with asyncio.timeout(timeout_seconds):
                batches = await unless_stopping(stopping, self._fill(rows))
        except (KafkaError, OSError, TimeoutError) as error:
            return [], error
        tasks = {
            asyncio.create_task(self._send_batch(place, batch)): taken
            for place, (batch, taken) in batches.items()
        }
        done, late = await _answers(set(tasks), stopping, deadline)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        failures = [failure for task in done if (failure := task.exception()) is not None]
        if late:
            failures.append(TimeoutError(f"{len(late)} batches without an answer"))
        acknowledged = [row for task in done if task.exception() is None for row in tasks[task]]
        return acknowledged, next(iter(failures), None)

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer)

    async def _fill(
        self, rows: Sequence[Sendable]
    ) -> dict[Place, tuple[BatchBuilder, list[Sendable]]]:
        assert self._producer is not None
        batches: dict[Place, tuple[BatchBuilder, list[Sendable]]] = {}
        full: set[Place] = set()
        for row in rows:
            place = (row.topic, await self._partition_of(row))
            if place in full:
                continue
            if place not in batches:
                batches[place] = (self._producer.create_batch(), [])
            batch, taken = batches[place]
            appended = batch.append(
                key=row.key, value=row.body, timestamp=None, headers=row.headers
            )
            if appended is None:
                # Not in the batch; nothing after it may overtake it within its partition.
                full.add(place)
            else:
                taken.append(row)
        return batches

    async def _send_batch(self, place: Place, batch: BatchBuilder) -> None:
        assert self._producer is not None
        topic, partition = place
        batch.close()
        answer = await self._producer.send_batch(batch, topic, partition=partition)
        await answer

    async def _partition_of(self, row: Sendable) -> int:
        """Kafka's default: murmur2 of the key, so that any client finds a key's partition.

        Raises WrongPartitions rather than sending a key elsewhere than before.
        """
        count = self._partition_counts.get(row.topic)
        if count is None:
            assert self._producer is not None
            count = len(await self._producer.partitions_for(row.topic))
            require_partitions(row.topic, count)
            self._partition_counts[row.topic] = count
        return (murmur2(row.key) & 0x7FFFFFFF) % count


async def _answers(
    tasks: set[asyncio.Task[None]], stopping: asyncio.Event, deadline: float
) -> tuple[set[asyncio.Task[None]], set[asyncio.Task[None]]]:
    """Which are done and which not at the deadline, or shortly after the process must stop."""
    told = asyncio.create_task(stopping.wait())
    waiting: set[asyncio.Task[None]] = set(tasks)
    try:
        while waiting and not told.done() and time.monotonic() < deadline:
            _, pending = await asyncio.wait(
                {*waiting, told},
                timeout=deadline - time.monotonic(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            waiting &= pending
        if waiting and told.done():
            left = min(STOP_GRACE_SECONDS, deadline - time.monotonic())
            _, waiting = await asyncio.wait(waiting, timeout=max(0.0, left))
    finally:
        told.cancel()
    return tasks - waiting, waiting
