"""When nothing is on its way any more: no open order, nothing unsent, no lag, no SMS due."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass

import psycopg
from confluent_kafka import Consumer, TopicPartition

from shared.kernel.events import CONTRIBUTIONS_TOPIC, ORDERS_TOPIC
from shared.runtime.messaging.topics import DECLARED

CONSUMERS = {
    "billing": (ORDERS_TOPIC,),
    "payment": (CONTRIBUTIONS_TOPIC,),
    "notifier": (CONTRIBUTIONS_TOPIC, ORDERS_TOPIC),
}
POLL_SECONDS = 0.25
QUIET_LOOKS = 2
# Looking must not cost what is measured: small indexes are read, never whole tables.
BY_INDEX = "-c enable_seqscan=off"

OPEN_REQUESTS = "SELECT count(*) FROM payment_request WHERE status = 'OPEN'"
OPEN_ATTEMPTS = """
    SELECT count(*) FROM payment_attempt WHERE status IN ('STARTED', 'AWAITING_PAYER', 'UNKNOWN')
"""
UNSENT = """
    SELECT (SELECT count(*) FROM outbox_queue)
         + (SELECT count(*) FROM outbox WHERE resend_at IS NOT NULL)
"""
DUE_SMS = "SELECT count(*) FROM notification WHERE due_at IS NOT NULL"
POSITIONS = "SELECT topic, partition, next_offset FROM position WHERE consumer = %s"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much is still on its way, by place."""

    open_requests: int
    open_attempts: int
    unsent_events: int
    lag_records: int
    due_sms: int

    @property
    def is_nothing(self) -> bool:
        return not any(asdict(self).values())

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in asdict(self).items())


class NotDrained(Exception):
    """Something was still on its way at the deadline; says what."""


def look(databases: Mapping[str, str], kafka: str) -> Waiting:
    """What is on its way now; `databases` maps billing, payment and notifier to their URLs."""
    # The ends first: what is read later can only be further.
    ends = end_offsets(kafka)
    with _connections(databases) as connections:
        unsent = sum(_count(connections[s], UNSENT) for s in ("billing", "payment"))
        return Waiting(
            open_requests=_count(connections["billing"], OPEN_REQUESTS),
            open_attempts=_count(connections["payment"], OPEN_ATTEMPTS),
            unsent_events=unsent,
            lag_records=sum(_lag(connections[s], s, ends) for s in CONSUMERS),
            due_sms=_count(connections["notifier"], DUE_SMS),
        )


def wait_until_drained(databases: Mapping[str, str], kafka: str, *, within_seconds: float) -> float:
    """Wait until nothing is on its way twice in a row; the seconds it took. Raises NotDrained."""
    began, quiet = time.monotonic(), 0
    while quiet < QUIET_LOOKS:
        waiting = look(databases, kafka)
        quiet = quiet + 1 if waiting.is_nothing else 0
        if quiet == 0 and time.monotonic() - began > within_seconds:
            raise NotDrained(f"after {within_seconds:.0f} s: {waiting}")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


def end_offsets(kafka: str) -> dict[tuple[str, int], int]:
    """(topic, partition) → the offset that the next record will get."""
    client = Consumer({"bootstrap.servers": kafka, "group.id": "songhe-bench-looks"})
    with closing(client):
        return {
            (topic, number): client.get_watermark_offsets(
                TopicPartition(topic, number), timeout=10
            )[1]
            for topic in (CONTRIBUTIONS_TOPIC, ORDERS_TOPIC)
            for number in range(DECLARED[topic])
        }


def _lag(connection: psycopg.Connection, consumer: str, ends: Mapping[tuple[str, int], int]) -> int:
    rows = connection.execute(POSITIONS, [consumer]).fetchall()
    positions = {(topic, number): offset for topic, number, offset in rows}
    return sum(
        end - positions.get((topic, number), 0)
        for (topic, number), end in ends.items()
        if topic in CONSUMERS[consumer]
    )


def _count(connection: psycopg.Connection, statement: str) -> int:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _connections(databases: Mapping[str, str]) -> Iterator[dict[str, psycopg.Connection]]:
    opened: dict[str, psycopg.Connection] = {}
    try:
        for service in CONSUMERS:
            opened[service] = psycopg.connect(databases[service], autocommit=True, options=BY_INDEX)
        yield opened
    finally:
        for connection in opened.values():
            connection.close()
