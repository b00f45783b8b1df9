"""Fixtures for every test: real servers, fresh databases, an empty Redis, topics of one's own."""

import signal
from collections.abc import AsyncIterator, Callable, Iterator

import hypothesis
import pytest
from redis.asyncio import Redis

from testing.databases import Databases
from testing.images import images
from testing.infrastructure import Decision, decide, running_infrastructure
from testing.kafka_topics import KafkaTopics
from testing.redis_database import flush, leased_redis_database
from testing.servers import Infrastructure, InfrastructureError

# How long an example takes depends on who else uses this machine, and says nothing.
hypothesis.settings.register_profile(
    "songhe", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("songhe")


DECISION = pytest.StashKey[Decision]()


def pytest_configure(config: pytest.Config) -> None:
    # Whoever stops a test run with SIGTERM wants its servers stopped, too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        config.stash[DECISION] = decide(images=list(images().values()))
    except InfrastructureError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> str:
    return f"test infrastructure: {config.stash[DECISION]}"


@pytest.fixture(scope="session")
def infrastructure(pytestconfig: pytest.Config) -> Iterator[Infrastructure]:
    """PostgreSQL, Redis and Kafka; started by the first test that asks for them."""
    try:
        with running_infrastructure(pytestconfig.stash[DECISION]) as running:
            yield running
    except InfrastructureError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def databases(infrastructure: Infrastructure) -> Iterator[Databases]:
    """For tests that need more databases than `service_database` gives them."""
    created = Databases(infrastructure.postgres_url)
    try:
        yield created
    finally:
        created.drop_all()


@pytest.fixture(scope="module")
def service_database(databases: Databases) -> Iterator[Callable[[str], str]]:
    """`service_database("billing")` is the asyncpg URL of a migrated database of this module."""
    urls: dict[str, str] = {}

    def of(service: str) -> str:
        if service not in urls:
            urls[service] = databases.create(service)
        return urls[service]

    yield of
    for url in urls.values():
        databases.drop(url)


@pytest.fixture(scope="module")
def empty_database(databases: Databases) -> Iterator[str]:
    """The asyncpg URL of a database of this module without any table."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture(scope="session")
def leased_redis_url(infrastructure: Infrastructure) -> Iterator[str]:
    with leased_redis_database(infrastructure.redis_url) as url:
        yield url


@pytest.fixture
def redis_url(leased_redis_url: str) -> str:
    """The URL of a logical Redis database that is empty now and used by this test only."""
    flush(leased_redis_url)
    return leased_redis_url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of that database."""
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def kafka_topics(infrastructure: Infrastructure) -> Iterator[Callable[..., str]]:
    """`kafka_topics(partitions=3)` is the name of a fresh topic; deleted after the test."""
    topics = KafkaTopics(infrastructure.kafka)
    try:
        yield topics.create
    finally:
        topics.delete_all()
