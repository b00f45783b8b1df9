"""One sandbox process for all tests that do not stop it; every test starts with empty books."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from sandbox.tests.running import RunningSandbox, running_sandbox


@pytest_asyncio.fixture(scope="session")
async def sandbox_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningSandbox]:
    async with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def sandbox(sandbox_process: RunningSandbox) -> httpx2.AsyncClient:
    (await sandbox_process.client.post("/sandbox/v1/reset")).raise_for_status()
    return sandbox_process.client
