"""A topic with another number of partitions than declared: nothing is sent or read, loudly."""

import asyncio
import uuid
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from shared.kernel.events import MoneyAccepted
from shared.runtime.database.database import Database
from shared.runtime.messaging import topics
from shared.runtime.messaging.consumer import Consumer
from shared.runtime.messaging.dispatch import Dispatch
from shared.runtime.messaging.relay import Relay
from shared.tests.messaging.ledger import Effects, rows
from shared.tests.messaging.test_relay import running, until_sent, write
from testing.eventually import eventually
from testing.servers import Infrastructure

FOUND, DECLARED = 3, 6


@pytest.fixture
def narrow_topic(kafka_topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    name = kafka_topics(partitions=FOUND)
    monkeypatch.setitem(topics.DECLARED, name, DECLARED)
    return name


def widen(kafka: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_partitions([NewPartitions(topic, DECLARED)])[topic].result(20)


async def test_the_relay_sends_nothing_until_the_topic_is_right(
    narrow_topic: str, ledger_url: str, database: Database, infrastructure: Infrastructure
) -> None:
    relay = Relay(database, bootstrap_servers=infrastructure.kafka)
    write(ledger_url, narrow_topic, uuid.uuid4(), range(1, 3))

    async with running(relay):
        await eventually(lambda: relay.fault is not None)
        assert str(relay.fault) == (
            f"The topic {narrow_topic} has 3 partitions instead of 6: it must be made anew."
        )
        unsent = await rows(database, "SELECT count(*) FROM outbox_queue")
        assert unsent[0][0] == 2

        widen(infrastructure.kafka, narrow_topic)

        await until_sent(database)
        await eventually(lambda: relay.fault is None)


async def test_dispatch_reads_nothing_until_the_topic_is_right(
    narrow_topic: str, database: Database, infrastructure: Infrastructure
) -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    consumer = Consumer(name, (narrow_topic,), {MoneyAccepted: Effects()})
    dispatch = Dispatch(database, consumer, bootstrap_servers=infrastructure.kafka)
    stopping = asyncio.Event()
    task = asyncio.create_task(dispatch.run(stopping))

    try:
        await eventually(lambda: dispatch.fault is not None)
        assert "has 3 partitions instead of 6" in str(dispatch.fault)

        widen(infrastructure.kafka, narrow_topic)

        await eventually(lambda: dispatch.fault is None and dispatch.ready, within_seconds=30)
    finally:
        stopping.set()
        await asyncio.wait_for(task, 10)
