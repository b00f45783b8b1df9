"""The topics, declared once; broker auto-create is off, so only this declaration makes them."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from shared.kernel.errors import Contradiction, Unavailable
from shared.kernel.events import CONTRIBUTIONS_TOPIC, ORDERS_TOPIC, PEOPLE_TOPIC

# Never changed: another count would move keys to other partitions and break their order.
PARTITION_COUNT = 12
# As long as sent outbox rows are kept, so that log and outbox heal each other.
RETENTION_DAYS = 14
# What only the notifier's stream process writes.
STREAM_APP = "songhe-notifier-stream"
STREAM_TABLE = "windows"
CHANNELS_TOPIC = "notifier.channels"
DEADLINE_SECONDS = 60.0
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic per aggregate family; the record key is the insured person's id.

    An event about nobody has the id of its row.
    """

    name: str
    partition_count: int = PARTITION_COUNT
    retention_days: int = RETENTION_DAYS
    cleanup_policy: str = "delete"

    @property
    def settings(self) -> dict[str, str]:
        return {
            "cleanup.policy": self.cleanup_policy,
            "retention.ms": str(self.retention_days * 24 * 60 * 60 * 1000),
        }


TOPICS = (
    Topic(CONTRIBUTIONS_TOPIC),
    Topic(ORDERS_TOPIC),
    Topic(PEOPLE_TOPIC),
    Topic(CHANNELS_TOPIC, retention_days=1),
    # faust's own: declared here, because faust would give it other settings
    Topic(
        f"{STREAM_APP}-{STREAM_TABLE}-changelog", retention_days=1, cleanup_policy="compact,delete"
    ),
)
DECLARED = {topic.name: topic.partition_count for topic in TOPICS}


class WrongPartitions(Contradiction):
    """A topic has another number of partitions than was declared: keys would change places."""


def require_partitions(topic: str, found: int) -> None:
    """Raises WrongPartitions, in one sentence; a topic that is not ours may have any number."""
    declared = DECLARED.get(topic, found)
    if found != declared:
        raise WrongPartitions(
            f"The topic {topic} has {found} partitions instead of {declared}: it must be made anew."
        )


async def create_topics(
    bootstrap_servers: str,
    *,
    replication_factor: int = 1,
    topics: Iterable[Topic] = TOPICS,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> None:
    """Create what is missing and verify what is there; may be repeated.

    Raises Unavailable when the broker does not answer in time, WrongPartitions when an existing
    topic has another number of partitions.
    """
    wanted = tuple(topics)
    deadline = time.monotonic() + deadline_seconds
    while True:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await _create_once(bootstrap_servers, wanted, replication_factor)
        except (KafkaError, OSError, TimeoutError) as error:
            if time.monotonic() + RETRY_SECONDS > deadline:
                raise Unavailable(
                    "kafka_unavailable",
                    f"Kafka at {bootstrap_servers} did not make the topics in"
                    f" {deadline_seconds:g} s ({error!r})",
                ) from error
            await asyncio.sleep(RETRY_SECONDS)


async def _create_once(servers: str, topics: tuple[Topic, ...], replication: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    try:
        await admin.start()
        answer = await admin.create_topics(
            [
                NewTopic(
                    topic.name, topic.partition_count, replication, topic_configs=topic.settings
                )
                for topic in topics
            ]
        )
        for error in answer.topic_errors:
            kind = for_code(error[1])
            if error[1] != 0 and kind is not TopicAlreadyExistsError:
                raise kind(str(error))
        described = await admin.describe_topics([topic.name for topic in topics])
    finally:
        await admin.close()
    _verify(topics, {entry["topic"]: len(entry["partitions"]) for entry in described})


def _verify(topics: tuple[Topic, ...], found: dict[str, int]) -> None:
    for topic in topics:
        if found.get(topic.name) == 0 or topic.name not in found:
            raise KafkaError(f"{topic.name} is not visible yet")
        if found[topic.name] != topic.partition_count:
            raise WrongPartitions(
                f"The topic {topic.name} has {found[topic.name]} partitions instead of"
                f" {topic.partition_count}: it must be made anew."
            )
