"""One logical Redis database per test session, so that flushing it hits nobody else."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

from redis import Redis

# A server has 16 by default; the first is where sessions write down which one they took.
NUMBERS = range(1, 16)
# Longer than any test session; a killed one gives its number back by this.
LEASE_SECONDS = 3600


@contextmanager
def leased_redis_database(server_url: str) -> Iterator[str]:
    """The URL of a logical database that no other session on this server uses meanwhile."""
    with Redis.from_url(_with_number(server_url, 0)) as register:
        owner = secrets.token_hex(8)
        number = next((n for n in NUMBERS if _take(register, n, owner)), None)
        if number is None:
            raise RuntimeError("all logical Redis databases are taken by other test sessions")
        try:
            yield _with_number(server_url, number)
        finally:
            register.delete(_lease(number))


def flush(url: str) -> None:
    """Empty the logical database of this URL."""
    with Redis.from_url(url) as client:
        client.flushdb()


def _take(register: Redis, number: int, owner: str) -> bool:
    return bool(register.set(_lease(number), owner, nx=True, ex=LEASE_SECONDS))


def _lease(number: int) -> str:
    return f"songhe:test:database:{number}"


def _with_number(url: str, number: int) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{number}"))
