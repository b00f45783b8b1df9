"""Payment on a migrated database of the module's own, and a real sandbox."""

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
import pytest_asyncio

from sandbox.tests.running import RunningSandbox, running_sandbox
from services.payment.adapters.bank.direct_debit import BankDirectDebitChannel
from services.payment.adapters.channels.http import open_client
from services.payment.tests.building import CASHIER, OTHER_CASHIER
from services.payment.tests.fake_cashier import FakeCashier
from services.payment.tests.fake_channel import FakeChannel
from services.payment.tests.running_payment import Payment, running_payment
from services.payment.tests.world import World, some_clock
from shared.kernel.clock import SystemClock
from shared.runtime.database.database import Database, open_database

# A call that hangs in a test costs this much.
CALL_TIMEOUT_SECONDS = 0.5


@pytest_asyncio.fixture(scope="module")
async def payment_database(service_database: Callable[[str], str]) -> AsyncIterator[Database]:
    database = open_database(service_database("payment"), source="payment", pool_size=3)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def world(payment_database: Database) -> World:
    """Payment with an empty database and a channel in memory."""
    clock = some_clock()
    world = World(
        database=payment_database,
        channel=FakeChannel(clock=clock),
        clock=clock,
        cashiers={
            CASHIER.id: FakeCashier(clock=clock),
            OTHER_CASHIER.id: FakeCashier(clock=clock, capabilities=OTHER_CASHIER),
        },
    )
    await world.empty()
    return world


@pytest.fixture
def alipay(world: World) -> FakeCashier:
    """A cashier of `world`."""
    return world.cashiers[CASHIER.id]


@pytest.fixture
def wechatpay(world: World) -> FakeCashier:
    """The other cashier of `world`."""
    return world.cashiers[OTHER_CASHIER.id]


@pytest_asyncio.fixture
async def payment(world: World, redis_url: str) -> AsyncIterator[Payment]:
    """The API over `world`, on a real socket."""
    async with running_payment(world, redis_url=redis_url) as payment:
        yield payment


@pytest.fixture
def bank(world: World) -> FakeChannel:
    """The channel of `world`."""
    assert isinstance(world.channel, FakeChannel)
    return world.channel


@pytest_asyncio.fixture(scope="session")
async def payment_sandbox(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningSandbox]:
    async with running_sandbox(tmp_path_factory.mktemp("payment-sandbox")) as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def sandbox(payment_sandbox: RunningSandbox) -> httpx2.AsyncClient:
    """A client of the real sandbox, whose books are empty."""
    (await payment_sandbox.client.post("/sandbox/v1/reset")).raise_for_status()
    return payment_sandbox.client


@pytest_asyncio.fixture
async def sandbox_channel(sandbox: httpx2.AsyncClient) -> AsyncIterator[BankDirectDebitChannel]:
    """Our adapter, speaking to the real sandbox."""
    async with open_client(call_timeout_seconds=CALL_TIMEOUT_SECONDS, connections=20) as client:
        yield BankDirectDebitChannel(client, url=str(sandbox.base_url), clock=SystemClock())


@pytest_asyncio.fixture
async def sandbox_world(
    payment_database: Database, sandbox_channel: BankDirectDebitChannel
) -> World:
    """Payment with an empty database that speaks to the real sandbox."""
    world = World(database=payment_database, channel=sandbox_channel, clock=some_clock())
    await world.empty()
    return world
