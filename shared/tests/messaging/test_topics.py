"""Topics are made from one declaration, and what differs from it is refused in one sentence."""

import secrets
from collections.abc import Callable

import pytest

from shared.kernel.errors import Contradiction, Unavailable
from shared.runtime.messaging.topics import TOPICS, Topic, create_topics
from testing.servers import Infrastructure


async def test_topics_are_created_once_and_verified_again(infrastructure: Infrastructure) -> None:
    topic = Topic(f"test.{secrets.token_hex(4)}", partition_count=3)

    await create_topics(infrastructure.kafka, topics=[topic])
    await create_topics(infrastructure.kafka, topics=[topic])


async def test_another_number_of_partitions_is_refused(
    infrastructure: Infrastructure, kafka_topics: Callable[..., str]
) -> None:
    existing = kafka_topics(partitions=2)

    with pytest.raises(Contradiction, match="has 2 partitions instead of 12"):
        await create_topics(infrastructure.kafka, topics=[Topic(existing)])


async def test_a_broker_that_does_not_answer_is_one_sentence() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        await create_topics("127.0.0.1:9", deadline_seconds=0.5)


def test_the_declaration_is_what_the_services_rely_on() -> None:
    assert {topic.name for topic in TOPICS} == {
        "billing.contributions",
        "payment.orders",
        "identity.people",
        "notifier.channels",
        "songhe-notifier-stream-windows-changelog",
    }
    assert {topic.partition_count for topic in TOPICS} == {12}
    facts = [topic for topic in TOPICS if "notifier" not in topic.name]
    assert {topic.settings["retention.ms"] for topic in facts} == {str(14 * 86_400_000)}
