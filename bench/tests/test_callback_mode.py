"""Mode *callback*: signed callbacks settle their orders, and a run that lost one is void."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import psycopg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from bench.callback.books import require_conserved, require_settled
from bench.callback.generator import CallbackHistory, Told, prepare, send
from bench.callback.letters import Letters
from bench.callback.result import CallbackResult, Verification, table
from bench.callback.sender import OpenLoop, parse_answer
from bench.callback.step import measured
from bench.step import Void, Window
from bench.tests.test_results import result as core_result
from devstack import plan
from devstack.keys import channels as channel_keys
from services.payment.adapters.channels.pace import ChannelPace
from services.payment.cashiers import CASHIERS, open_cashiers
from services.payment.settings import ApiSettings
from services.payment.tests.running_payment import OneKey
from services.payment.wiring.api import compose_api
from shared.kernel.clock import SystemClock
from shared.kernel.ids import new_id
from shared.runtime.database.database import open_database
from shared.runtime.http.server import serve
from testing.databases import plain
from testing.eventually import eventually

NOWHERE = "http://127.0.0.1:9"
COUNT = 40


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channels")
    channel_keys.create_missing(folder)
    return folder


@pytest.fixture(scope="module")
def database_url(service_database: Callable[[str], str]) -> str:
    return service_database("payment")


@pytest_asyncio.fixture(scope="module")
async def api_url(database_url: str, keys: Path) -> AsyncIterator[str]:
    """Payment's API as it is composed, believing the keys."""
    settings = settings_of(database_url, keys)
    database = open_database(database_url, source="payment", pool_size=2)
    clients = {id: httpx2.AsyncClient(trust_env=False) for id in CASHIERS}
    cashiers = open_cashiers(settings, clients=clients, call_timeout_seconds=1, clock=SystemClock())
    composed = compose_api(
        settings, database, OneKey(), SystemClock(), channels={**cashiers}, pace=ChannelPace()
    )
    server, stopping = serve(composed.app, "127.0.0.1", 0), asyncio.Event()
    serving = asyncio.create_task(server.run(stopping))
    await eventually(lambda: server.port > 0)
    yield f"http://127.0.0.1:{server.port}"
    stopping.set()
    async with asyncio.timeout(10):
        await serving
    for close in (*composed.closing, *(client.aclose for client in clients.values())):
        await close()
    await database.close()


def settings_of(database_url: str, keys: Path) -> ApiSettings:
    return ApiSettings(
        environment="development",
        database_url=SecretStr(database_url),
        kafka_bootstrap_servers="127.0.0.1:9",
        redis_url=SecretStr("redis://127.0.0.1:9/0"),
        identity_url=NOWHERE,
        alipay_url=NOWHERE,
        alipay_app_id=plan.ALIPAY_APP_ID,
        alipay_seller_id=plan.ALIPAY_SELLER_ID,
        alipay_keys_dir=keys / "alipay",
        wechatpay_url=NOWHERE,
        wechatpay_app_id=plan.WECHATPAY_APP_ID,
        wechatpay_merchant_id=plan.WECHATPAY_MERCHANT_ID,
        wechatpay_keys_dir=keys / "wechatpay",
        payment_callback_base_url=NOWHERE,
    )


async def test_each_callback_settles_its_order_and_a_planted_loss_makes_the_run_void(
    database_url: str, keys: Path, api_url: str
) -> None:
    plain_url = plain(database_url)
    letters = Letters(keys / "sandbox", host="payment.test")
    opened, requests = await prepare(plain_url, letters, COUNT)

    history = await send(api_url, opened, requests, letters, rate=200)

    told = history.told
    money = sum(one.amount_fen for one in told)
    assert {one.channel for one in told} == {"alipay", "wechatpay"}
    require_settled(plain_url, told)
    require_conserved(plain_url, callbacks=COUNT, amount_fen=money)
    with pytest.raises(Void, match="received"):
        require_conserved(plain_url, callbacks=COUNT, amount_fen=money + 1)
    with pytest.raises(Void, match="settled orders: 40 instead of 41"):
        require_conserved(plain_url, callbacks=COUNT + 1, amount_fen=money)

    unsettle(plain_url, told[7])

    with pytest.raises(Void, match=f"1 callbacks .* {told[7].order_id}"):
        require_settled(plain_url, told)
    with pytest.raises(Void, match="settled orders: 39 instead of 40"):
        require_conserved(plain_url, callbacks=COUNT, amount_fen=money)


async def test_a_callback_that_is_not_believed_makes_the_run_void(
    database_url: str, keys: Path, api_url: str
) -> None:
    plain_url = plain(database_url)
    letters = Letters(keys / "sandbox", host="payment.test")
    opened, requests = await prepare(plain_url, letters, 2)
    forged = [request.replace(b"TRADE_SUCCESS", b"TRADE_CLOSED!") for request in requests]

    history = await send(api_url, opened, forged, letters, rate=200)

    assert [one.is_acknowledged for one in history.told] == [False, True]
    with pytest.raises(Void, match="1 of 2 callbacks were not answered"):
        require_settled(plain_url, history.told)


async def test_a_server_that_lets_go_of_its_connections_still_gets_every_request() -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsuccess")
        writer.close()

    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        requests = [b"POST / HTTP/1.1\r\n\r\n"] * COUNT
        sent = await OpenLoop("127.0.0.1", port, requests, rate=500, connections=3).run()

    assert sent.statuses == [200] * COUNT
    assert None not in sent.answered_at


def test_latency_counts_from_when_it_was_due_until_answer_and_commit() -> None:
    began_at = datetime(2026, 11, 26, tzinfo=UTC)
    told = [one(began_at, n, answered_after=0.010) for n in range(300)]
    # Answered at once, and committed late: it is the commit that counts.
    settled = {one.attempt_id: one.due_at for one in told}
    settled[told[150].attempt_id] += timedelta(seconds=0.5)
    history = CallbackHistory(told=told, began_at=began_at, late_seconds_max=0.002, cpu_seconds=1)

    step = measured(history, 100.0, Window(1, 1), {"postgres": 0.03}, settled)

    assert step.latency_ms.p50 == pytest.approx(10)
    assert step.latency_ms.max == pytest.approx(500)
    # Of a hundred, one was committed behind the window.
    assert step.settled_rate == 99
    assert step.cpu_us_per_callback == {"postgres": pytest.approx(100)}


def one(began_at: datetime, n: int, *, answered_after: float) -> Told:
    due_at = began_at + timedelta(seconds=n / 100)
    return Told(
        attempt_id=new_id(),
        order_id=new_id(),
        channel="alipay",
        amount_fen=1,
        due_at=due_at,
        answered_at=due_at + timedelta(seconds=answered_after),
        is_acknowledged=True,
    )


def unsettle(url: str, told: Told) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE payment_order SET status = 'REQUESTED', settled_version = NULL,"
            " attempt_id = NULL, settled_channel = NULL, channel_trade_no = NULL,"
            " settled_at = NULL WHERE id = %s",
            [told.order_id],
        )


@pytest.mark.parametrize(
    ("received", "answer"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsuccess", (200, b"success")),
        (b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsucc", None),
        (b"HTTP/1.1 200 OK\r\ncontent-le", None),
    ],
)
def test_an_answer_is_read_when_it_is_whole(
    received: bytes, answer: tuple[int, bytes] | None
) -> None:
    assert parse_answer(received) == answer


def test_the_table_tells_rate_latency_and_verification_beside_their_goals() -> None:
    began_at = datetime(2026, 11, 26, tzinfo=UTC)
    told = [one(began_at, n, answered_after=0.010) for n in range(300)]
    history = CallbackHistory(told=told, began_at=began_at, late_seconds_max=0.002, cpu_seconds=1)
    settled = {one.attempt_id: one.due_at for one in told}
    step = measured(history, 100.0, Window(1, 1), {"postgres": 0.03}, settled)
    core = core_result()

    shown = table(
        CallbackResult(
            commit="abc",
            began_at=began_at,
            seconds=60,
            quick=True,
            machine=core.machine,
            load_average=0.5,
            durable={"fsync": "on"},
            verification=[Verification(channel="alipay", median_us=120, p99_us=300)],
            steps=[step],
            sustained=step,
            at_70_percent=step,
            callbacks_checked=300,
        )
    )

    assert "| callbacks settled per second, p99 < 1 s | 100 | ≥ 500 |" in shown
    assert "| p99 at 70 % | 10 ms | ≤ 100 ms |" in shown
    assert "| verification alone, alipay, median | 120 µs (p99 300) | ≤ 150 µs |" in shown
