"""Every pool waits: in the product Redis is opened in one place, and that one queues."""

import ast
import asyncio
from pathlib import Path

import pytest
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from shared.runtime.ground.redis_client import open_redis

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = ("shared/kernel", "shared/runtime", "services", "devstack", "sandbox")
HOME = Path("shared/runtime/ground/redis_client.py")
CALLERS = 50
OPENERS = ("Redis", "StrictRedis", "RedisCluster", "from_url")


def product_files() -> list[Path]:
    return [
        path.relative_to(ROOT)
        for folder in PRODUCT
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "tests" not in path.relative_to(ROOT).parts
    ]


def pools_made_in(source: str) -> list[str]:
    """Calls that make a connection pool of redis-py, or a client that makes one for itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).removeprefix("redis.").removeprefix("asyncio.")
            if "ConnectionPool" in name or name.removesuffix(".from_url") in OPENERS:
                found.append(name)
    return found


def test_redis_is_opened_in_one_place_only() -> None:
    places = {path for path in product_files() if pools_made_in((ROOT / path).read_text())}

    assert places == {HOME}


@pytest.mark.parametrize(
    "line",
    [
        "Redis.from_url(url, max_connections=16)",
        "redis.asyncio.Redis.from_url(url)",
        "Redis(host='x')",
        "ConnectionPool.from_url(url)",
        "redis.ConnectionPool(max_connections=1)",
        "redis.from_url(url)",
    ],
)
def test_the_rule_finds_a_planted_pool(line: str) -> None:
    assert pools_made_in(f"def open(url):\n    return {line}\n")


async def test_who_finds_all_connections_in_use_waits(redis_url: str) -> None:
    client = open_redis(redis_url, connections=2, timeout_seconds=5.0)

    answers = await asyncio.gather(*(client.ping() for _ in range(CALLERS)))

    assert answers == [True] * CALLERS
    assert isinstance(client.connection_pool, BlockingConnectionPool)
    await client.aclose()


async def test_the_wait_ends_and_a_call_is_never_repeated(redis_url: str) -> None:
    client = open_redis(redis_url, connections=1, timeout_seconds=5.0, wait_seconds=0.01)

    async with client.client() as holder:  # its one connection
        assert await holder.ping()
        assert holder.connection is not None
        assert holder.connection.retry.get_retries() == 0
        with pytest.raises(RedisError):
            await client.ping()

    assert await client.ping()
    await client.aclose()
