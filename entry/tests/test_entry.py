"""The entry as a proxy: a real one in front of a real upstream that records what reaches it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from devstack.ports import is_free
from entry.proxy import BODY_LIMIT_BYTES, Entry, EntryServer
from entry.settings import EntrySettings
from shared.runtime.http.client_address import LOOPBACK, ClientAddresses, parse_networks
from shared.runtime.process.settings import SettingsError, read_settings

DEADLINE_SECONDS = 10.0


@dataclass
class Upstream:
    """Answers as told and keeps what it got."""

    requests: list[tuple[str, bytes, dict[str, str], bytes]] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive()).get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        target = scope["raw_path"] + b"?" + scope["query_string"]
        self.requests.append((scope["method"], target, headers, body))
        if scope["path"].endswith("/events"):
            await self._stream(send)
        else:
            await self._answer(send)

    async def _answer(self, send: Send) -> None:
        answer = [
            (b"content-type", b"application/json"),
            (b"connection", b"x-secret-hop"),
            (b"x-secret-hop", b"1"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
        ]
        await send({"type": "http.response.start", "status": 201, "headers": answer})
        await send({"type": "http.response.body", "body": b'{"ok": true}'})

    async def _stream(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"id: 1\n\n", "more_body": True})
        await self.release.wait()
        await send({"type": "http.response.body", "body": b"id: 2\n\n"})


@dataclass(frozen=True)
class Door:
    """The entry under test: its address and what is behind it."""

    url: str
    upstream: Upstream


@asynccontextmanager
async def serving(application: ASGIApp, *, port: int = 0) -> AsyncIterator[str]:
    """The address of a server that runs as long as the block."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        config = uvicorn.Config(
            application, http="h11", lifespan="off", log_level="critical", proxy_headers=False
        )
        server = EntryServer(config, drain_seconds=0)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listener]))
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with a_door() as door:
        yield door


@asynccontextmanager
async def a_door(*, trusted: str = "") -> AsyncIterator[Door]:
    upstream = Upstream()
    async with serving(upstream) as behind, httpx2.AsyncHTTPTransport(trust_env=False) as transport:
        services = {name: httpx2.URL(behind) for name in ("identity", "billing", "payment")}
        services["notifier"] = httpx2.URL(f"http://127.0.0.1:{a_silent_port()}")
        entry = Entry(
            services, transport, trusted_proxies=parse_networks(trusted), patience_seconds=0.2
        )
        async with serving(entry) as front:
            yield Door(front, upstream)
            upstream.release.set()


def a_silent_port() -> int:
    return next(port for port in range(19_000, 20_000) if is_free(port))


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False, timeout=DEADLINE_SECONDS) as client:
        yield client


async def test_method_path_query_and_body_arrive_as_they_were_sent(
    door: Door, http: httpx2.AsyncClient
) -> None:
    address = httpx2.URL(door.url).copy_with(raw_path=b"/billing/v1/a%20b?x=%41&y=1&x=2")

    await http.post(address, content=b'{"a": 1}', headers={"Idempotency-Key": "k"})

    method, target, headers, body = door.upstream.requests[0]
    assert (method, target, body) == ("POST", b"/billing/v1/a%20b?x=%41&y=1&x=2", b'{"a": 1}')
    assert headers["idempotency-key"] == "k"


async def test_an_answer_comes_back_whole_but_without_connection_headers(
    door: Door, http: httpx2.AsyncClient
) -> None:
    answer = await http.get(f"{door.url}/billing/v1/x")

    assert (answer.status_code, answer.json()) == (201, {"ok": True})
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "x-secret-hop" not in answer.headers


async def test_the_entry_says_itself_where_a_request_comes_from(
    door: Door, http: httpx2.AsyncClient
) -> None:
    claims = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "::1"}

    await http.get(f"{door.url}/billing/v1/x", headers=claims)

    headers = door.upstream.requests[0][2]
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert "forwarded" not in headers
    assert "x-real-ip" not in headers


@pytest.mark.parametrize(
    ("trusted", "claimed", "passed_on", "payer"),
    [
        ("127.0.0.0/8", ["203.0.113.7"], "203.0.113.7, 127.0.0.1", "203.0.113.7"),
        ("127.0.0.0/8", ["203.0.113.7:51234"], "203.0.113.7:51234, 127.0.0.1", "203.0.113.7"),
        ("127.0.0.0/8", ["[2001:db8::7]:1"], "[2001:db8::7]:1, 127.0.0.1", "2001:db8::7"),
        # What the payer itself claimed stands before what the balancer saw, and is not believed.
        ("127.0.0.0/8", ["8.8.8.8, 203.0.113.7"], "8.8.8.8, 203.0.113.7, 127.0.0.1", "203.0.113.7"),
        (
            "127.0.0.0/8",
            ["8.8.8.8", "203.0.113.7"],
            "8.8.8.8, 203.0.113.7, 127.0.0.1",
            "203.0.113.7",
        ),
        ("127.0.0.0/8", [], "127.0.0.1", "127.0.0.1"),
        ("", ["203.0.113.7"], "127.0.0.1", "127.0.0.1"),
        ("10.0.0.0/8", ["203.0.113.7"], "127.0.0.1", "127.0.0.1"),
    ],
)
async def test_behind_a_balancer_that_is_trusted_the_payers_address_arrives(
    http: httpx2.AsyncClient, trusted: str, claimed: list[str], passed_on: str, payer: str
) -> None:
    claims = [("X-Forwarded-For", address) for address in claimed]
    others = [("Forwarded", "for=203.0.113.9"), ("X-Real-IP", "::1"), ("X-Forwarded-Host", "x")]

    async with a_door(trusted=trusted) as door:
        await http.get(f"{door.url}/payment/v1/x", headers=claims + others)

    headers = door.upstream.requests[0][2]
    assert headers["x-forwarded-for"] == passed_on
    assert not headers.keys() & {"forwarded", "x-real-ip", "x-forwarded-host"}
    seen_by_service = ClientAddresses(parse_networks(LOOPBACK)).of("127.0.0.1", [passed_on])
    assert str(seen_by_service) == payer


@pytest.mark.parametrize("wrong", ["somewhere", "10.0.0.0/33", "10.0.0.1/8"])
def test_networks_that_are_none_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("SONGHE_ENTRY_HTTP_PORT", "8000")
    for service in ("IDENTITY", "BILLING", "PAYMENT", "NOTIFIER"):
        monkeypatch.setenv(f"SONGHE_ENTRY_{service}_URL", "http://127.0.0.1:9")
    assert read_settings(EntrySettings).trusted_proxies == ""

    monkeypatch.setenv("SONGHE_TRUSTED_PROXIES", wrong)

    with pytest.raises(SettingsError, match="SONGHE_TRUSTED_PROXIES"):
        read_settings(EntrySettings)


async def test_headers_about_the_connection_are_not_passed_on(
    door: Door, http: httpx2.AsyncClient
) -> None:
    hops = {"Connection": "x-hop", "X-Hop": "1", "TE": "trailers", "Proxy-Authorization": "x"}

    await http.get(f"{door.url}/billing/v1/x", headers=hops)

    assert not door.upstream.requests[0][2].keys() & {"x-hop", "te", "proxy-authorization"}


async def test_no_cookie_of_one_caller_reaches_the_request_of_the_next(door: Door) -> None:
    for _ in range(2):
        async with httpx2.AsyncClient(trust_env=False) as stranger:
            await stranger.get(f"{door.url}/billing/v1/x")

    assert [("cookie" in request[2]) for request in door.upstream.requests] == [False, False]


async def test_a_stream_is_passed_on_event_by_event(door: Door, http: httpx2.AsyncClient) -> None:
    async with http.stream("GET", f"{door.url}/payment/v1/orders/1/events") as stream:
        pieces = stream.aiter_raw()
        first = await anext(pieces)
        door.upstream.release.set()
        second = await anext(pieces)

    assert (first, second) == (b"id: 1\n\n", b"id: 2\n\n")


async def test_an_internal_endpoint_is_not_there(door: Door, http: httpx2.AsyncClient) -> None:
    address = httpx2.URL(door.url).copy_with(raw_path=b"/identity/v1/%69nternal/contacts/1")

    answer = await http.get(address)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert door.upstream.requests == []


async def test_a_large_body_is_refused_whether_announced_or_not(
    door: Door, http: httpx2.AsyncClient
) -> None:
    async def unannounced() -> AsyncIterator[bytes]:
        yield b"x" * BODY_LIMIT_BYTES
        yield b"x"

    announced = await http.post(f"{door.url}/billing/v1/x", content=b"x" * (BODY_LIMIT_BYTES + 1))
    streamed = await http.post(f"{door.url}/billing/v1/x", content=unannounced())

    for answer in (announced, streamed):
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert door.upstream.requests == []


async def test_a_service_that_is_down_is_told_as_such(door: Door, http: httpx2.AsyncClient) -> None:
    answer = await http.get(f"{door.url}/notifier/v1/notifications")

    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0


async def test_a_request_waits_for_a_service_that_is_being_restarted(
    http: httpx2.AsyncClient,
) -> None:
    upstream, port = Upstream(), a_silent_port()
    services = {"billing": httpx2.URL(f"http://127.0.0.1:{port}")}
    async with (
        httpx2.AsyncHTTPTransport(trust_env=False) as transport,
        serving(Entry(services, transport)) as front,
    ):
        asking = asyncio.create_task(http.post(f"{front}/billing/v1/x", content=b"1"))
        await asyncio.sleep(0.3)  # as long as a service is away
        assert not asking.done()
        async with serving(upstream, port=port):
            answer = await asking

    assert answer.status_code == 201
    assert [body for _, _, _, body in upstream.requests] == [b"1"]


async def test_a_request_that_may_have_been_done_is_not_sent_again(
    http: httpx2.AsyncClient,
) -> None:
    received = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        received += 1
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    services = {"identity": httpx2.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")}
    async with (
        server,
        httpx2.AsyncHTTPTransport(trust_env=False) as transport,
        serving(Entry(services, transport)) as front,
    ):
        answer = await http.post(f"{front}/identity/v1/sms-codes", content=b"1")

    assert (answer.status_code, received) == (502, 1)


@pytest.mark.parametrize("kind", ["live", "ready"])
async def test_health_is_answered_by_the_entry_itself(
    kind: str, door: Door, http: httpx2.AsyncClient
) -> None:
    answer = await http.get(f"{door.url}/health/{kind}")

    assert json.loads(answer.content) == {"status": kind}
    assert door.upstream.requests == []
