"""A Kafka client that is thrown away ends in bounded time, whatever breaks inside it."""

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from shared.runtime.messaging.kafka_closing import close_producer
from testing.eventually import eventually
from testing.servers import Infrastructure


async def test_a_producer_whose_batch_was_given_up_on_its_way_is_closed_all_the_same(
    infrastructure: Infrastructure, kafka_topics: Callable[..., str]
) -> None:
    topic = kafka_topics(partitions=1)
    producer = AIOKafkaProducer(bootstrap_servers=infrastructure.kafka, acks="all")
    await producer.start()
    on_its_way = asyncio.Event()

    async def lose_the_answer(*_: object, **__: object) -> None:
        on_its_way.set()
        await asyncio.sleep(0.05)
        raise KafkaConnectionError("the broker went away")

    producer.client.send = lose_the_answer
    batch = producer.create_batch()
    batch.append(key=b"key", value=b"value", timestamp=None)
    batch.close()
    waiting = asyncio.create_task(_answer(producer, batch, topic))
    await asyncio.wait_for(on_its_way.wait(), 5)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    async with asyncio.timeout(5):
        await close_producer(producer)

    connections = producer.client._conns.values()
    await eventually(lambda: not any(connection.connected() for connection in connections))


async def test_a_connection_that_does_not_close_cancels_nobody_who_closes_it(
    infrastructure: Infrastructure,
) -> None:
    """Else the relay ended as if it had been told to, and the worker with it."""
    producer = AIOKafkaProducer(bootstrap_servers=infrastructure.kafka)
    await producer.start()
    for broker in producer.client.cluster.brokers():
        assert await producer.client.ready(broker.nodeId)
    connections = list(producer.client._conns.values())
    real = [connection.close for connection in connections]
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for connection in connections:
        connection.close = lambda **_: never

    async with asyncio.timeout(5):
        await close_producer(producer)

    assert connections
    assert never.cancelled()
    for close in real:
        await close()


async def test_whoever_is_cancelled_while_closing_stays_cancelled(
    infrastructure: Infrastructure,
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=infrastructure.kafka)
    await producer.start()
    closing = asyncio.create_task(close_producer(producer))
    await asyncio.sleep(0)
    closing.cancel()

    await asyncio.wait([closing], timeout=5)

    assert closing.cancelled()
    await producer.client.close()


async def _answer(producer: AIOKafkaProducer, batch: object, topic: str) -> None:
    await (await producer.send_batch(batch, topic, partition=0))
