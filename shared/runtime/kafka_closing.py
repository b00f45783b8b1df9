"""Ends Kafka clients in bounded time: their own `stop()` waits for a broker that may be gone."""

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

# Together with the work before, a stop stays below two seconds.
LEAVE_SECONDS = 0.9
CANCEL_SECONDS = 0.2
FAILURES = (KafkaError, OSError, TimeoutError)


async def close_producer(producer: AIOKafkaProducer) -> None:
    """Give up what is not answered, then close; never raises what Kafka raises."""
    # stop() flushes first. What had no answer is sent again by whoever comes next.
    producer._message_accumulator.fail_all(ProducerClosed())
    with suppress(*FAILURES):
        await asyncio.wait_for(producer.stop(), CANCEL_SECONDS)
    with suppress(*FAILURES):
        await asyncio.wait_for(producer.client.close(), CANCEL_SECONDS)


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group if the broker answers in time, then close; never raises Kafka's errors."""
    try:
        await asyncio.wait_for(consumer.stop(), LEAVE_SECONDS)
        return
    except FAILURES:
        pass
    tasks = _background_tasks(consumer)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
    with suppress(*FAILURES):
        await asyncio.wait_for(consumer._client.close(), CANCEL_SECONDS)


def _background_tasks(consumer: AIOKafkaConsumer) -> list[asyncio.Task[object]]:
    """What stop() had not ended yet when its time was over."""
    tasks = []
    if consumer._coordinator is not None:
        tasks += [
            consumer._coordinator._coordination_task,
            consumer._coordinator._heartbeat_task,
            consumer._coordinator._commit_refresh_task,
        ]
    if consumer._fetcher is not None:
        tasks += [consumer._fetcher._fetch_task, *consumer._fetcher._pending_tasks]
    return [task for task in tasks if task is not None and not task.done()]
