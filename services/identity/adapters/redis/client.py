"""The connection to Redis, and what its silence means: 503, never a 500 and never a guess."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.identity.domain.refusal import outage
from shared.runtime.ground import redis_client

# Redis answers within a millisecond; a person waits for this, so giving up early is better.
TIMEOUT_SECONDS = 1.0
CONNECTIONS_MAX = 16

log = structlog.get_logger(__name__)


def open_redis(url: str) -> Redis:
    """A lazy client with few connections; it answers bytes."""
    return redis_client.open_redis(
        url, connections=CONNECTIONS_MAX, timeout_seconds=TIMEOUT_SECONDS
    )


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Raises Unavailable `codes_unavailable` where Redis does not answer, or not properly."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("redis_unavailable", error=type(error).__name__)
        raise outage("codes_unavailable") from error
