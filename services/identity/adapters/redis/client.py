"""The connection to Redis, and what its silence means: 503, never a 500 and never a guess."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from services.identity.domain.refusal import outage

# Redis answers within a millisecond; a person waits for this, so giving up early is better.
TIMEOUT_SECONDS = 1.0
CONNECTIONS_MAX = 16

log = structlog.get_logger(__name__)


def open_redis(url: str) -> Redis:
    """A lazy client with few connections; it answers bytes."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        # A command whose answer was lost may have counted a try: asking again would count two.
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Raises Unavailable `codes_unavailable` where Redis does not answer, or not properly."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("redis_unavailable", error=type(error).__name__)
        raise outage("codes_unavailable") from error
