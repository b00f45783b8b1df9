"""The one way to open Redis: few connections, and whoever finds all of them in use waits a moment.

redis-py's own pool raises instead of waiting, so a crowd that lasts some milliseconds would become
refusals; and its number of retries depends on how a client was made, so it is said here.
"""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def open_redis(
    url: str, *, connections: int, timeout_seconds: float, wait_seconds: float | None = None
) -> Redis:
    """A lazy client that answers bytes.

    A call fails with redis.RedisError after `timeout_seconds` without an answer, or after
    `wait_seconds` (if not given, as long) without a free connection. It is never repeated: a
    command whose answer was lost may have been carried out.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_seconds if wait_seconds is None else wait_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)
