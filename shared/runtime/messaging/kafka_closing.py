"""Ends Kafka clients in bounded time: their own `stop()` waits for a broker that may be gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import ProducerClosed

# Together with the work before, a stop stays below two seconds.
LEAVE_SECONDS = 0.9
CANCEL_SECONDS = 0.2

log = structlog.get_logger(__name__)


async def close_producer(producer: AIOKafkaProducer) -> None:
    """Give up what is not answered, then close; never raises."""
    # stop() flushes first. What had no answer is sent again by whoever comes next.
    _give_up(producer)
    await _ends(producer.stop(), CANCEL_SECONDS)
    await _ends(producer.client.close(), CANCEL_SECONDS)


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group if the broker answers in time, then close; never raises."""
    if await _ends(consumer.stop(), LEAVE_SECONDS):
        return
    tasks = _background_tasks(consumer)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
    await _ends(consumer._client.close(), CANCEL_SECONDS)


async def _ends(closing: Coroutine[Any, Any, None], seconds: float) -> bool:
    """Whether it ended well in time. What breaks in a client that is thrown away breaks nothing:

    a batch that was given up while its request was under way ends the producer's own task with
    a KeyError, which `stop()` passes on; and what one close had to give up after its time is
    cancelled when the next one waits for it, though nobody cancelled us.
    """
    try:
        await asyncio.wait_for(closing, seconds)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return False
    except Exception as error:  # noqa: BLE001 - the client is thrown away, whatever it says
        log.info("kafka_client_not_closed", error=repr(error))
        return False
    return True


def _give_up(producer: AIOKafkaProducer) -> None:
    accumulator = producer._message_accumulator
    waiting = [batch for batches in accumulator._batches.values() for batch in batches]
    waiting += accumulator._pending_batches
    accumulator.fail_all(ProducerClosed())
    for batch in waiting:
        for future in (batch.future, batch._drain_waiter):
            if future.done() and not future.cancelled():
                # Looked at once, or each would be logged as an error that nobody looked at.
                future.exception()


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
