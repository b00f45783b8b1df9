"""Reads whole topics with an independent client, as evidence and not as a service would."""

import time
from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from testing.checker.story import Record

BATCH_RECORDS = 5_000
# Between two batches; a broker that just started takes some seconds.
SILENCE_SECONDS = 30.0
REQUEST_SECONDS = 10.0

# partition → beginning and end of its log
Bounds = dict[int, tuple[int, int]]


class _OrderId(msgspec.Struct):
    payment_order_id: UUID | None = None


_body = msgspec.json.Decoder(_OrderId)


def log_bounds(bootstrap_servers: str, topic: str) -> Bounds:
    """Where the log of each partition begins and ends now.

    Raises RuntimeError as long as the broker cannot tell.
    """
    client = _client(bootstrap_servers)
    try:
        return _bounds(client, topic)
    except KafkaException as error:
        raise RuntimeError(f"the broker does not tell the ends of {topic}: {error}") from error
    finally:
        client.close()


def read_topic(bootstrap_servers: str, topic: str) -> list[Record]:
    """Every event of the topic up to its present end, in log order within each partition.

    Records without an event id are none of ours and are left out. Raises TimeoutError when the
    broker is silent.
    """
    client = _client(bootstrap_servers)
    try:
        left = {
            number: end for number, (first, end) in _bounds(client, topic).items() if end > first
        }
        client.assign([TopicPartition(topic, number, 0) for number in left])
        records: list[Record] = []
        heard_at = time.monotonic()
        while left:
            messages = client.consume(BATCH_RECORDS, timeout=0.5)
            for message in messages:
                _take(message, left, records)
            if messages:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > SILENCE_SECONDS:
                raise TimeoutError(f"{topic}: partitions {sorted(left)} were not read to their end")
        return records
    finally:
        client.close()


def _take(message: Any, left: dict[int, int], records: list[Record]) -> None:
    if message.error() is not None:
        raise RuntimeError(str(message.error()))
    number, offset = message.partition(), message.offset()
    if number not in left:
        return
    record = _record(message)
    if record is not None and offset < left[number]:
        records.append(record)
    if offset + 1 >= left[number]:
        del left[number]


def _record(message: Any) -> Record | None:
    headers = dict(message.headers() or ())
    try:
        body = message.value() or b""
        return Record(
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            event_id=UUID(headers["ce_id"].decode()),
            type=headers["ce_type"].decode(),
            subject=UUID(headers["ce_subject"].decode()),
            sequence=int(headers["sequence"]),
            order_id=_body.decode(body).payment_order_id,
            body=body,
        )
    except (KeyError, ValueError, AttributeError, msgspec.DecodeError):
        return None


def _bounds(client: Any, topic: str) -> Bounds:
    found: Collection[int] = (
        client.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic].partitions
    )
    if not found:
        raise RuntimeError(f"the broker has no partition of {topic}")
    return {
        number: client.get_watermark_offsets(TopicPartition(topic, number), timeout=REQUEST_SECONDS)
        for number in found
    }


def _client(bootstrap_servers: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "songhe-checker-looks-only",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 3,
        }
    )
