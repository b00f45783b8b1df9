"""A server that stops fails no request that was sent: not on old connections, not on new ones."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import httpx2
import uvicorn
from starlette.types import Receive, Scope, Send

from shared.runtime.http.draining import DrainingServer
from shared.tests.process.test_process import DEADLINE_SECONDS, demo_process
from testing.eventually import eventually

CLIENTS = 8


def test_an_idle_connection_may_be_used_once_more_and_is_told_to_close() -> None:
    with demo_process() as running, httpx2.Client(trust_env=False) as client:
        url = f"{running.url}/demo/v1/openapi.json"
        before = client.get(url)

        running.terminate()
        after = client.get(url)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while "connection" not in after.headers and time.monotonic() < deadline:
            after = client.get(url)  # the signal takes a moment to arrive

        assert "connection" not in before.headers
        assert (after.status_code, after.headers["connection"]) == (200, "close")
        assert running.exit_code() == 0


def test_the_answer_to_a_request_in_flight_is_the_last_on_its_connection() -> None:
    with demo_process() as running, httpx2.Client(trust_env=False) as client:
        answers: list[httpx2.Response] = []
        url = f"{running.url}/demo/v1/slow"
        asking = Thread(target=lambda: answers.append(client.get(url)))
        asking.start()
        running.wait_for("slow request begun")

        running.terminate()

        asking.join(DEADLINE_SECONDS)
        assert answers[0].headers["connection"] == "close"
        assert running.exit_code() == 0


async def test_an_idle_connection_that_nobody_uses_does_not_hold_up_the_end() -> None:
    # uvicorn itself would close it after five seconds: here only the draining can end the wait.
    config = uvicorn.Config(
        _nothing, port=0, http="h11", lifespan="off", timeout_keep_alive=3600, log_config=None
    )
    server = DrainingServer(config, drain_seconds=0.1)
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, DEADLINE_SECONDS)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")

    server.should_exit = True

    await asyncio.wait_for(serving, DEADLINE_SECONDS)
    assert await reader.read() == b""
    writer.close()


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_under_load_every_request_is_answered_or_was_never_sent() -> None:
    outcomes: list[str] = []
    with demo_process() as running:
        url = f"{running.url}/demo/v1/openapi.json"
        gone = Event()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for number in range(CLIENTS):
                pool.submit(_ask, url, gone, outcomes, keeping=number % 2 == 0)
            await eventually(lambda: outcomes.count("answered") > 50, DEADLINE_SECONDS)
            running.terminate()
            code = running.exit_code()
            gone.set()

    assert code == 0
    assert [outcome for outcome in outcomes if outcome not in ("answered", "refused")] == []


def _ask(url: str, gone: Event, outcomes: list[str], *, keeping: bool) -> None:
    """Ask until the server is gone, over one connection after the other or over a kept one."""
    with httpx2.Client(trust_env=False, timeout=DEADLINE_SECONDS) as kept:
        while not gone.is_set():
            get: Callable[[str], httpx2.Response] = kept.get if keeping else _get_alone
            outcomes.append(_outcome(get, url))
            if outcomes[-1] == "refused":
                time.sleep(0.01)


def _get_alone(url: str) -> httpx2.Response:
    with httpx2.Client(trust_env=False, timeout=DEADLINE_SECONDS, headers=NO_KEEPING) as client:
        return client.get(url)


def _outcome(get: Callable[[str], httpx2.Response], url: str) -> str:
    try:
        return "answered" if get(url).status_code == 200 else "wrong"
    except httpx2.ConnectError:
        return "refused"
    except httpx2.TransportError as error:
        return repr(error)


NO_KEEPING = {"Connection": "close"}
