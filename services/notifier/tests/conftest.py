"""Notifier on a migrated database of the module's own, and a real sandbox as its gateway."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from sandbox.tests.running import RunningSandbox, running_sandbox
from services.notifier.adapters.sms import provider as http_sms_provider
from services.notifier.adapters.sms.provider import HttpSmsProvider
from services.notifier.tests.world import World, some_clock
from shared.runtime.database.database import Database, open_database

# A call that hangs in a test costs this much.
CALL_SECONDS = 0.5


@pytest_asyncio.fixture(scope="module")
async def notifier_database(service_database: Callable[[str], str]) -> AsyncIterator[Database]:
    database = open_database(service_database("notifier"), source="notifier", pool_size=2)
    yield database
    await database.close()


@pytest_asyncio.fixture(scope="session")
async def notifier_sandbox(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningSandbox]:
    folder = tmp_path_factory.mktemp("notifier-sandbox")
    async with running_sandbox(folder, SONGHE_SANDBOX_SMS_DELIVERY_DELAY_MS="0") as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def world(
    notifier_database: Database,
    notifier_sandbox: RunningSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    """Empty tables, an empty gateway, no faults."""
    monkeypatch.setattr(http_sms_provider, "DEADLINE_SECONDS", CALL_SECONDS)
    (await notifier_sandbox.client.post("/sandbox/v1/reset")).raise_for_status()
    provider = HttpSmsProvider(str(notifier_sandbox.client.base_url))
    world = World(
        database=notifier_database,
        provider=provider,
        gateway=notifier_sandbox.client,
        clock=some_clock(),
    )
    await world.empty()
    yield world
    await provider.close()
