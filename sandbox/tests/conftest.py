"""One sandbox process for all tests that do not stop it; every test starts with empty books."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from devstack.keys import channels as channel_keys
from sandbox.tests.merchant import AlipayMerchant, Mailbox, WechatPayMerchant, mailbox
from sandbox.tests.running import RunningSandbox, running_sandbox

# Four minutes become 0.04 seconds: a repeat comes while a test waits for it.
TIME_FACTOR = "6000"


@pytest.fixture(scope="session")
def channel_key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channel-keys")
    channel_keys.create_missing(folder)
    return folder


@pytest.fixture(scope="session")
def sandbox_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared sandbox keeps its book."""
    return tmp_path_factory.mktemp("sandbox")


@pytest_asyncio.fixture(scope="session")
async def sandbox_process(
    sandbox_folder: Path, channel_key_folder: Path
) -> AsyncIterator[RunningSandbox]:
    changes = {
        "SONGHE_SANDBOX_CHANNEL_KEYS_DIR": str(channel_key_folder / "sandbox"),
        "SONGHE_SANDBOX_TIME_FACTOR": TIME_FACTOR,
    }
    async with running_sandbox(sandbox_folder, **changes) as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def sandbox(sandbox_process: RunningSandbox) -> httpx2.AsyncClient:
    (await sandbox_process.client.post("/sandbox/v1/reset")).raise_for_status()
    return sandbox_process.client


@pytest_asyncio.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as found:
        yield found


@pytest.fixture
def alipay(sandbox: httpx2.AsyncClient, channel_key_folder: Path) -> AlipayMerchant:
    return AlipayMerchant(channel_key_folder, sandbox)


@pytest.fixture
def wechatpay(sandbox: httpx2.AsyncClient, channel_key_folder: Path) -> WechatPayMerchant:
    return WechatPayMerchant(channel_key_folder, sandbox)
