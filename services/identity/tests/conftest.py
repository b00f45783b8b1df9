"""`identity` is the API on real servers; each test starts with empty Redis and an empty book."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest
from redis.asyncio import Redis

from devstack.keys import development as development_keys
from sandbox.tests.running import running_sandbox
from services.identity.settings import ApiSettings
from services.identity.tests.running_identity import Identity, api_settings, running_identity


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fresh keys, in the layout of the development stack."""
    folder = tmp_path_factory.mktemp("keys")
    development_keys.create_missing(folder)
    return folder


@pytest.fixture(scope="session")
async def sandbox_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running.client


@pytest.fixture
async def sandbox(sandbox_process: httpx2.AsyncClient) -> httpx2.AsyncClient:
    (await sandbox_process.post("/sandbox/v1/reset")).raise_for_status()
    return sandbox_process


@pytest.fixture
def settings(
    service_database: Callable[[str], str],
    redis_url: str,
    sandbox: httpx2.AsyncClient,
    keys: Path,
) -> ApiSettings:
    return api_settings(
        keys,
        database_url=service_database("identity"),
        redis_url=redis_url,
        sms_url=str(sandbox.base_url).rstrip("/"),
    )


@pytest.fixture
async def identity(
    settings: ApiSettings, redis: Redis, sandbox: httpx2.AsyncClient, keys: Path
) -> AsyncIterator[Identity]:
    async with running_identity(settings, redis=redis, sandbox=sandbox, keys=keys) as running:
        yield running
