"""One stack of all services for the whole session, on the session's servers."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from devstack.externals import Externals
from devstack.stack import Stack, default_state_dir
from testing.servers import Infrastructure
from tests.integration.support.people import People
from tests.integration.support.sandbox import Sandbox

# Billing asks again soon, so that lost events heal within a test's patience.
FAST_SETTINGS = {"billing": {"SONGHE_BILLING_ASK_AFTER_SECONDS": "2"}}


@pytest.fixture(scope="session")
def stack(infrastructure: Infrastructure) -> Iterator[Stack]:
    """The four services, sandbox and entry; its own, beside any that a developer runs."""
    folder = default_state_dir() / f"test-{os.getpid()}-services"
    running = Stack(
        folder,
        overrides=FAST_SETTINGS,
        externals=Externals(
            postgres_url=infrastructure.postgres_url,
            redis_url=infrastructure.redis_url,
            kafka_bootstrap_servers=infrastructure.kafka,
        ),
    )
    try:
        running.up()
        yield running
    finally:
        running.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the entry port, as a phone would be."""
    async with httpx2.AsyncClient(
        base_url=stack.urls["entry"], timeout=15.0, trust_env=False
    ) as client:
        yield client


@pytest.fixture
async def sandbox(stack: Stack) -> AsyncIterator[Sandbox]:
    """The outside world; its faults are taken away at the end of the test."""
    async with httpx2.AsyncClient(
        base_url=stack.urls["sandbox"], timeout=15.0, trust_env=False
    ) as client:
        world = Sandbox(client)
        yield world
        await world.clear_faults()


@pytest.fixture
def people(stack: Stack, http: httpx2.AsyncClient, sandbox: Sandbox) -> People:
    return People(stack, http, sandbox)
