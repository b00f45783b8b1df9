"""The fixtures that every other test stands on."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from redis.asyncio import Redis
from sqlalchemy.engine import make_url

from testing.databases import Databases
from testing.eventually import eventually
from testing.infrastructure import remove_orphans
from testing.servers import Infrastructure


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        return connection.execute(query.encode()).fetchall()


def test_two_databases_share_nothing(databases: Databases) -> None:
    one, other = databases.create(), databases.create()

    plain = make_url(one).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        connection.execute("CREATE TABLE mine (id int)")

    assert rows(one, "SELECT to_regclass('mine') IS NOT NULL") == [(True,)]
    assert rows(other, "SELECT to_regclass('mine') IS NOT NULL") == [(False,)]
    databases.drop(one)
    databases.drop(other)


def test_a_session_drops_only_what_it_created(
    databases: Databases, infrastructure: Infrastructure
) -> None:
    with pytest.raises(ValueError, match="was not created"):
        databases.drop(infrastructure.postgres_url)


async def test_redis_holds_something_until_the_next_test(redis: Redis) -> None:
    await redis.set("left", "over")

    assert await redis.get("left") == b"over"


async def test_redis_is_empty_at_the_start_of_a_test(redis: Redis) -> None:
    assert await redis.dbsize() == 0


def test_a_topic_has_the_partitions_that_were_asked_for(
    kafka_topics: Callable[..., str], infrastructure: Infrastructure
) -> None:
    topic = kafka_topics(partitions=3)

    admin = AdminClient({"bootstrap.servers": infrastructure.kafka})
    assert len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 3


def test_what_a_killed_session_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONGHE_STATE_DIR", str(tmp_path))
    orphan, alive, other = (tmp_path / f"test-{n}" for n in (2**22 + 1, os.getpid(), "notes"))
    for folder in (orphan, alive, other):
        folder.mkdir()

    remove_orphans()

    assert [folder.exists() for folder in (orphan, alive, other)] == [False, True, True]


async def test_eventually_returns_what_became_true() -> None:
    answers = iter([0, None, 7])

    assert await eventually(lambda: next(answers), within_seconds=1) == 7


async def test_eventually_takes_a_failed_assertion_as_not_yet() -> None:
    tries = 0

    async def third_time() -> bool:
        nonlocal tries
        tries += 1
        assert tries == 3
        return True

    assert await eventually(third_time, within_seconds=1)


async def test_eventually_gives_up_at_its_deadline_and_says_what_it_saw() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.05 s; it returned \[\]"):
        await eventually(lambda: [], within_seconds=0.05)


async def test_eventually_ends_a_check_that_hangs() -> None:
    with pytest.raises(AssertionError, match="never answered"):
        await eventually(lambda: asyncio.sleep(60, result=True), within_seconds=0.05)


async def test_eventually_does_not_hide_other_errors() -> None:
    def broken() -> bool:
        raise KeyError("a bug in the check")

    with pytest.raises(KeyError):
        await eventually(broken, within_seconds=1)
