"""The topics as an independent client sees them: read everything, write anything."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Producer, TopicPartition

from testing.eventually import eventually

CONSUMERS = {
    "billing": ("payment.orders",),
    "payment": ("billing.contributions",),
    "notifier": ("billing.contributions", "payment.orders"),
}
DEADLINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Record:
    """One record, to be looked at or to be sent (again)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    def header(self, name: str) -> str | None:
        return next((value.decode() for found, value in self.headers if found == name), None)


def end_offsets(bootstrap_servers: str, topic: str) -> dict[int, int]:
    """Partition → the offset that the next record will get."""
    client = _client(bootstrap_servers)
    try:
        found = client.list_topics(topic, timeout=10).topics[topic]
        return {
            number: client.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in found.partitions
        }
    finally:
        client.close()


def read_all(bootstrap_servers: str, topic: str) -> list[Record]:
    """Every record of the topic, partition by partition in log order."""
    ends = {number: end for number, end in end_offsets(bootstrap_servers, topic).items() if end}
    client = _client(bootstrap_servers)
    try:
        client.assign([TopicPartition(topic, number, 0) for number in ends])
        return _read_up_to(client, topic, ends)
    finally:
        client.close()


def send(bootstrap_servers: str, records: Iterable[Record]) -> None:
    """Write records as they are; raises AssertionError unless all were acknowledged."""
    failures: list[object] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "linger.ms": 5,
            # Like the services: elsewhere a key's records would overtake each other.
            "partitioner": "murmur2_random",
        }
    )
    for record in records:
        producer.produce(
            record.topic,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        producer.poll(0)
    left = producer.flush(DEADLINE_SECONDS)
    assert not left, f"{left} records were not acknowledged"
    assert not failures, failures


async def until_consumed(
    bootstrap_servers: str, databases: dict[str, str], *, within_seconds: float = 60.0
) -> None:
    """Wait until every consumer's stored positions have reached the ends of its topics."""

    def all_consumed() -> bool:
        for service, topics in CONSUMERS.items():
            for topic in topics:
                behind = _behind(bootstrap_servers, databases[service], service, topic)
                assert not behind, f"{service} is behind in {topic}: {behind}"
        return True

    await eventually(all_consumed, within_seconds)


def _behind(
    bootstrap_servers: str, database_url: str, service: str, topic: str
) -> dict[int, tuple[int, int]]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT partition, next_offset FROM position WHERE consumer = %s AND topic = %s",
            (service, topic),
        ).fetchall()
    stored: dict[int, int] = dict(rows)
    return {
        number: (stored.get(number, 0), end)
        for number, end in end_offsets(bootstrap_servers, topic).items()
        if stored.get(number, 0) < end
    }


def _read_up_to(client: KafkaConsumer, topic: str, ends: dict[int, int]) -> list[Record]:
    by_partition: dict[int, list[Record]] = {number: [] for number in ends}
    left = dict(ends)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while left and time.monotonic() < deadline:
        for message in client.consume(500, timeout=0.5):
            assert message.error() is None, message.error()
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            by_partition[partition].append(
                Record(topic, message.key(), message.value(), _headers(message.headers()))
            )
            if offset + 1 >= left.get(partition, 0):
                left.pop(partition, None)
    assert not left, f"{topic}: partitions {sorted(left)} were not read to their end"
    return [record for number in sorted(by_partition) for record in by_partition[number]]


def _headers(found: Any) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value) for name, value in found or ())


def _client(bootstrap_servers: str) -> KafkaConsumer:
    return KafkaConsumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "songhe-tests-look-only",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
