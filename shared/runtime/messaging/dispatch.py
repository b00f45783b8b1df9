"""Dispatch: fetch a batch, apply it in one transaction, move the positions with it.

The database holds the positions. A rebalance is only noted by Kafka's callbacks; the loop then
reads the stored positions, seeks, and takes no record of a partition fetched before that.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from shared.kernel.errors import Contradiction, SongheError
from shared.runtime.database.database import Database, is_transient
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.ground import crash_points
from shared.runtime.ground.backoff import Backoff
from shared.runtime.ground.metrics import (
    CONSUMER_LAG_RECORDS,
    CONSUMER_POSITION,
    CONTRADICTIONS,
    DISPATCH_BATCH_SECONDS,
    DISPATCH_RECORDS,
    DISPATCH_RETRIES,
    DISPATCH_WHOLE_BATCH_FAILURES,
    POSITION_OUT_OF_LOG,
)
from shared.runtime.ground.waiting import Stopping, unless_stopping, wait_for_any
from shared.runtime.messaging.batch import Batch, Outcome
from shared.runtime.messaging.consumer import Consumer, Place, Received, receive_record
from shared.runtime.messaging.kafka_closing import close_consumer
from shared.runtime.messaging.positions import Fenced, Partition, move_positions
from shared.runtime.messaging.subscription import Moves, Subscription, Taken
from shared.runtime.messaging.topics import WrongPartitions, require_partitions

log = structlog.get_logger(__name__)

BATCH_RECORDS_MAX = 500
FETCH_SECONDS = 0.2
# Kafka's committed offsets serve lag tools only; they need not be fresher than this.
COMMIT_SECONDS = 2.0
COMMIT_WAIT_SECONDS = 2.0
LAST_COMMIT_SECONDS = 0.3
START_SECONDS = 20.0


class WholeBatchFailed(SongheError):
    """Nothing in a large batch worked: the fault is ours, so nothing is parked."""


class Dispatch:
    """One member of a consumer group; a Component that runs until it is stopped."""

    name = "dispatch"

    def __init__(
        self,
        database: Database,
        consumer: Consumer,
        *,
        bootstrap_servers: str,
        session_timeout_seconds: float = 10.0,
        on_applied: Callable[[], None] | None = None,
    ) -> None:
        """`on_applied` is called after each commit that applied something."""
        self._database = database
        self._consumer = consumer
        self._bootstrap_servers = bootstrap_servers
        self._session_timeout_ms = int(session_timeout_seconds * 1000)
        self._on_applied = on_applied
        self._backoff = Backoff(first_seconds=0.1, cap_seconds=5.0)
        self._tries: dict[Place, int] = {}
        self._committed_at = float("-inf")
        self._told_lag: set[Partition] = set()
        self.ready = False
        # Why nothing is read until a person mends it; readiness tells.
        self.fault: Exception | None = None
        _declare_counters(consumer)

    async def run(self, stopping: asyncio.Event) -> None:
        """Connect again for as long as it takes; a lost broker is no reason to end."""
        while not stopping.is_set():
            kafka = self._kafka_consumer()
            subscription = Subscription(kafka, self._database, self._consumer)
            try:
                await unless_stopping(stopping, _start(kafka))
                kafka.subscribe(list(self._consumer.topics), listener=subscription)
                await self._until_stopped(kafka, subscription, stopping)
            except Stopping:
                return
            except Exception as error:  # noqa: BLE001 - another client, from the stored positions
                self.fault = error if isinstance(error, WrongPartitions) else None
                log.warning("kafka_failed", consumer=self._consumer.name, error=repr(error))
                await wait_for_any(stopping, timeout_seconds=self._backoff.next())
            finally:
                self.ready = False
                await subscription.commit_to_kafka(timeout_seconds=LAST_COMMIT_SECONDS)
                await close_consumer(kafka)

    def _kafka_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers,
            group_id=self._consumer.group_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=self._session_timeout_ms,
            heartbeat_interval_ms=self._session_timeout_ms // 4,
            max_poll_records=BATCH_RECORDS_MAX,
            fetch_max_wait_ms=int(FETCH_SECONDS * 1000),
        )

    async def _until_stopped(
        self, kafka: AIOKafkaConsumer, subscription: Subscription, stopping: asyncio.Event
    ) -> None:
        while not stopping.is_set():
            try:
                await self._one_batch(kafka, subscription, stopping)
                continue
            except (NoOffsetForPartitionError, OffsetOutOfRangeError):
                subscription.forget()
                continue
            except Fenced as error:
                log.warning("fenced", consumer=self._consumer.name, error=str(error))
                subscription.forget()
                continue
            except (KafkaError, Stopping, WrongPartitions):
                raise
            except Exception as error:  # noqa: BLE001 - nothing was committed: try again, loudly
                self._count_failure(error)
            await self._pause(kafka, subscription, stopping)

    async def _one_batch(
        self, kafka: AIOKafkaConsumer, subscription: Subscription, stopping: asyncio.Event
    ) -> None:
        self._require_partitions(kafka)
        await subscription.follow(stopping)
        self.ready = self.ready or subscription.has_joined
        taken = subscription.take(await self._fetch(kafka, stopping))
        all_done = True
        if taken.records:
            with subscription.busy():
                all_done = await self._apply(subscription, taken)
        await self._report_positions(subscription, stopping)
        if not all_done:
            await self._pause(kafka, subscription, stopping)

    def _require_partitions(self, kafka: AIOKafkaConsumer) -> None:
        for topic in self._consumer.topics:
            # None as long as the broker has not told.
            if (partitions := kafka.partitions_for_topic(topic)) is not None:
                require_partitions(topic, len(partitions))
        self.fault = None

    async def _fetch(
        self, kafka: AIOKafkaConsumer, stopping: asyncio.Event
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """`getmany` waits through a rebalance; a stop must not wait for that."""
        fetching = kafka.getmany(
            timeout_ms=int(FETCH_SECONDS * 1000), max_records=BATCH_RECORDS_MAX
        )
        fetched: Mapping[TopicPartition, Sequence[ConsumerRecord]] = await unless_stopping(
            stopping, fetching
        )
        return fetched

    async def _apply(self, subscription: Subscription, taken: Taken) -> bool:
        """Apply the records in one transaction; False when some of them have tries left."""
        received = [
            handled
            for record in taken.records
            if (handled := receive_record(record, self._consumer)) is not None
        ]
        with DISPATCH_BATCH_SECONDS.labels(consumer=self._consumer.name).time():
            outcome, moves = await self._commit(taken, received)
        crash_points.reach("dispatch.after_commit")
        subscription.moved(moves)
        if outcome.applied and self._on_applied is not None:
            self._on_applied()
        self._count(taken.records, received, outcome)
        self._remember_tries(received, outcome)
        if not outcome.unresolved:
            self._backoff.reset()
        return not outcome.unresolved

    async def _commit(self, taken: Taken, received: Sequence[Received]) -> tuple[Outcome, Moves]:
        """The batch as a whole, and after a failure in a new transaction around what fails."""
        try:
            async with self._database.transaction() as unit:
                outcome = await Batch(unit, self._consumer, self._tries).apply_whole(received)
                return outcome, await self._move(unit, taken, outcome)
        except Exception as error:
            if isinstance(error, Fenced) or is_transient(error):
                raise
        async with self._database.transaction() as unit:
            outcome = await Batch(unit, self._consumer, self._tries).apply(received)
            if outcome.is_our_fault:
                raise WholeBatchFailed(_first_error(outcome))
            return outcome, await self._move(unit, taken, outcome)

    async def _move(self, unit: Unit, taken: Taken, outcome: Outcome) -> Moves:
        # Here and not at the boundary: the positions are the last rows that a batch locks.
        await unit.flush()
        moves = taken.moves(outcome.unresolved)
        await move_positions(unit.connection, self._consumer.name, moves)
        crash_points.reach("dispatch.before_commit")
        return moves

    def _remember_tries(self, received: Sequence[Received], outcome: Outcome) -> None:
        """Failures with tries left are counted by place; everything else is forgotten."""
        failed = {
            record.place: self._tries.get(record.place, 0) + 1 for record, _ in outcome.failed
        }
        for record in received:
            self._tries.pop(record.place, None)
        self._tries |= failed
        for record, error in outcome.failed:
            self._count_retry("failed")
            log.warning(
                "record_failed",
                consumer=self._consumer.name,
                place=str(record.place),
                event_type=record.event_type,
                try_count=failed[record.place],
                error=repr(error),
            )

    async def _pause(
        self, kafka: AIOKafkaConsumer, subscription: Subscription, stopping: asyncio.Event
    ) -> None:
        """Drop what is held, keep polling so that the group stays stable, then start over."""
        until = time.monotonic() + self._backoff.next()
        if subscription.positions():
            # Also while nothing works: what waits and does not move is what an alert looks for.
            self._tell_lag(subscription)
        subscription.forget()
        kafka.pause(*kafka.assignment())
        while time.monotonic() < until and not stopping.is_set():
            with suppress(NoOffsetForPartitionError, OffsetOutOfRangeError):
                await self._fetch(kafka, stopping)
        kafka.resume(*kafka.assignment())

    async def _report_positions(self, subscription: Subscription, stopping: asyncio.Event) -> None:
        """Also when nothing came: the last batch must not be told as a lag for ever."""
        now = time.monotonic()
        if now - self._committed_at < COMMIT_SECONDS:
            return
        self._committed_at = now
        await subscription.notice_moves()
        await unless_stopping(
            stopping, subscription.commit_to_kafka(timeout_seconds=COMMIT_WAIT_SECONDS)
        )
        self._tell_lag(subscription)

    def _tell_lag(self, subscription: Subscription) -> None:
        positions, lag = subscription.positions(), subscription.lag()
        for topic, number in self._told_lag - set(lag):
            # What another member reads now is told by that member.
            CONSUMER_LAG_RECORDS.remove(self._consumer.name, topic, str(number))
            CONSUMER_POSITION.remove(self._consumer.name, topic, str(number))
        for (topic, number), records in lag.items():
            labels = (self._consumer.name, topic, str(number))
            CONSUMER_LAG_RECORDS.labels(*labels).set(records)
            CONSUMER_POSITION.labels(*labels).set(positions[topic, number])
        self._told_lag = set(lag)

    def _count_failure(self, error: Exception) -> None:
        if isinstance(error, WholeBatchFailed):
            DISPATCH_WHOLE_BATCH_FAILURES.labels(consumer=self._consumer.name).inc()
            log.error("whole_batch_failed", consumer=self._consumer.name, error=str(error))
        elif is_transient(error):
            self._count_retry("transient")
            log.warning("dispatch_retries", consumer=self._consumer.name, error=repr(error))
        else:
            self._count_retry("unexpected")
            log.exception("dispatch_failed", consumer=self._consumer.name, exc_info=error)

    def _count(
        self, records: Sequence[ConsumerRecord], received: Sequence[Received], outcome: Outcome
    ) -> None:
        by_outcome = {
            "applied": outcome.applied,
            "duplicate": outcome.duplicate,
            "held": outcome.held,
            "poison": [record for record, _ in outcome.parked],
        }
        for name, among in by_outcome.items():
            counts = Counter((record.place.topic, _counted_type(record)) for record in among)
            self._count_records(name, counts)
        handled = {record.place for record in received}
        skipped = Counter(
            (record.topic, "unhandled")
            for record in records
            if Place(record.topic, record.partition, record.offset) not in handled
        )
        self._count_records("skipped", skipped)
        for _, error in outcome.parked:
            if isinstance(error, Contradiction):
                CONTRADICTIONS.labels(consumer=self._consumer.name).inc()

    def _count_records(self, outcome: str, counts: Mapping[tuple[str, str], int]) -> None:
        for (topic, event_type), count in counts.items():
            DISPATCH_RECORDS.labels(
                consumer=self._consumer.name, topic=topic, event_type=event_type, outcome=outcome
            ).inc(count)

    def _count_retry(self, kind: str) -> None:
        DISPATCH_RETRIES.labels(consumer=self._consumer.name, kind=kind).inc()


def _declare_counters(consumer: Consumer) -> None:
    """At zero: the first event must be seen as an increase."""
    CONTRADICTIONS.labels(consumer=consumer.name)
    DISPATCH_WHOLE_BATCH_FAILURES.labels(consumer=consumer.name)
    for topic in consumer.topics:
        POSITION_OUT_OF_LOG.labels(consumer=consumer.name, topic=topic)


def _counted_type(record: Received) -> str:
    """A bounded label: what cannot be decoded may name anything."""
    return "undecodable" if record.message is None else record.message.envelope.type


def _first_error(outcome: Outcome) -> str:
    failures = outcome.failed + outcome.parked
    return f"{len(failures)} records failed, the first with {failures[0][1]!r}"


async def _start(kafka: AIOKafkaConsumer) -> None:
    async with asyncio.timeout(START_SECONDS):
        await kafka.start()
