"""One port in front of the four APIs, so that a page has one origin.

A reverse proxy that streams bytes in both directions and trusts neither side's hop-by-hop headers,
nor who a caller claims to be unless a balancer named in the settings says so. It never forwards an
internal endpoint.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus

import httpx2
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from entry.paths import service_of
from entry.settings import EntrySettings
from shared.runtime.http.client_address import ClientAddresses, Network, parse_networks
from shared.runtime.http.draining import KEEP_ALIVE_SECONDS, DrainingServer

BODY_LIMIT_BYTES = 64 * 1024
BODY_SECONDS = 30.0
CONNECT_SECONDS = 2.0
# A service that is being restarted is back by then; nothing was sent to it yet.
PATIENCE_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 0.5
# More than this many do not wait for services that are away.
PATIENT_MAX = 200
# Live streams send a heartbeat every 15 s; a service that is silent for this long is gone.
SILENCE_SECONDS = 60.0
CONNECTIONS_MAX = 500
SHUTDOWN_SECONDS = 3
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# Headers about one connection, not about the message (RFC 9110 §7.6.1).
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
# What a client says about where it comes from is not evidence; we say what we see. Only what a
# trusted proxy before us saw is kept: `X-Forwarded-For`.
CLAIMS = frozenset(
    b"forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port "
    b"x-forwarded-prefix x-real-ip".split()
)
Headers = list[tuple[bytes, bytes]]


class Entry:
    """The ASGI application. `transport` speaks to the services; who made it closes it.

    For `patience_seconds` it tries again to connect to a service that does not listen. What may
    have been sent is never sent again: not every request may be done twice.
    """

    def __init__(
        self,
        services: Mapping[str, httpx2.URL],
        transport: httpx2.AsyncBaseTransport,
        *,
        trusted_proxies: Iterable[Network] = (),
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._services = services
        self._addresses = ClientAddresses(trusted_proxies)
        self._patience_seconds = patience_seconds
        self._patient = 0
        # A transport, not a client: no cookies kept, no redirects followed, no headers added
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        with suppress(ClientDisconnect):  # nobody is left to answer
            await self._answer(Request(scope, receive), send)

    async def _answer(self, request: Request, send: Send) -> None:
        refusal = _own_answer(request)
        if refusal is None:
            body = await _read_body(request)
            if isinstance(body, bytes):
                await self._forward(request, body, send)
                return
            refusal = body
        await refusal(request.scope, request.receive, send)

    async def _forward(self, request: Request, body: bytes, send: Send) -> None:
        scope = request.scope
        service = service_of(scope["raw_path"]) or ""
        try:
            message = _request_for(
                self._services[service], request, body, came_through=self._came_through(request)
            )
            upstream = await self._send(message, request)
        except httpx2.InvalidURL:
            answer = _problem(400, "malformed_request", "The request cannot be read.")
            await answer(scope, request.receive, send)
            return
        except httpx2.TransportError as error:
            await _unavailable(service, error)(scope, request.receive, send)
            return
        try:
            response = StreamingResponse(_bytes_of(upstream), upstream.status_code)
            response.raw_headers = _end_to_end(upstream.headers.raw)
            await response(scope, request.receive, send)
        finally:
            await upstream.aclose()

    async def _send(self, message: httpx2.Request, request: Request) -> httpx2.Response:
        deadline = time.monotonic() + self._patience_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._transport.handle_async_request(message)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if time.monotonic() + pause > deadline or self._patient >= PATIENT_MAX:
                    raise
            await self._pause(pause)
            if await request.is_disconnected():
                raise ClientDisconnect
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _came_through(self, request: Request) -> str:
        """`X-Forwarded-For` for the service: our peer, behind what it said if we trust it."""
        peer = request.client.host if request.client else "unknown"
        said = request.headers.getlist("x-forwarded-for") if self._addresses.trusts(peer) else []
        return ", ".join([*said, peer])

    async def _pause(self, seconds: float) -> None:
        self._patient += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._patient -= 1


def _own_answer(request: Request) -> Response | None:
    """What the entry answers itself; None means that a service answers."""
    path = request.scope["raw_path"]
    if path in (b"/health/live", b"/health/ready"):
        status = path.rpartition(b"/")[2].decode()
        return Response(json.dumps({"status": status}), media_type="application/json")
    if service_of(path) is None:
        return _problem(404, "not_found", "There is nothing at this address.")
    if request.method not in METHODS:
        return _problem(405, "method_not_allowed", "This address does not support the method.")
    return None


async def _read_body(request: Request) -> bytes | Response:
    """The whole body, which is small by contract, or the answer to one that is not."""
    too_large = _problem(413, "body_too_large", "The body is larger than 64 KiB.")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_LIMIT_BYTES:
        return too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_LIMIT_BYTES:
                    return too_large
    except TimeoutError:
        return _problem(408, "body_too_slow", "The body did not arrive in time.")
    return bytes(body)


def _request_for(
    base: httpx2.URL, request: Request, body: bytes, *, came_through: str
) -> httpx2.Request:
    query = request.scope["query_string"]
    target = request.scope["raw_path"] + (b"?" + query if query else b"")
    headers = [
        (name, value)
        for name, value in _end_to_end(request.scope["headers"])
        if name not in CLAIMS and name != b"content-length"
    ]
    headers += [
        (b"x-forwarded-for", came_through.encode("latin-1")),
        (b"x-forwarded-proto", request.scope["scheme"].encode()),
    ]
    seconds = {
        "connect": CONNECT_SECONDS,
        "read": SILENCE_SECONDS,
        "write": SILENCE_SECONDS,
        "pool": CONNECT_SECONDS,
    }
    return httpx2.Request(
        request.method,
        base.copy_with(raw_path=target),
        headers=headers,
        content=body or None,
        extensions={"timeout": seconds},
    )


def _end_to_end(headers: Headers) -> Headers:
    """All headers but those about the connection, and those that `Connection` names."""
    lowered = [(name.lower(), value) for name, value in headers]
    listed = {
        word.strip().lower()
        for name, value in lowered
        if name == b"connection"
        for word in value.split(b",")
    }
    return [pair for pair in lowered if pair[0] not in HOP_BY_HOP | listed]


async def _bytes_of(upstream: httpx2.Response) -> AsyncIterator[bytes]:
    async for chunk in upstream.aiter_raw():
        yield chunk


def _unavailable(service: str, error: httpx2.TransportError) -> Response:
    """503 where nothing was sent, 504 and 502 where the service may have done it already."""
    sentence = f"The service {service} is not answering now; please try again."
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        status = 503
    else:
        status = 504 if isinstance(error, httpx2.TimeoutException) else 502
    return _problem(status, "upstream_unavailable", sentence, retry_after_seconds=2)


def _problem(
    status: int, code: str, detail: str, *, retry_after_seconds: int | None = None
) -> Response:
    """A problem document (RFC 9457), the same shape that the services answer with."""
    document: dict[str, object] = {
        "type": f"urn:songhe:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    headers = {"Cache-Control": "no-store"}
    if retry_after_seconds is not None:
        document["retry_after_seconds"] = retry_after_seconds
        headers["Retry-After"] = str(retry_after_seconds)
    return Response(json.dumps(document), status, headers, "application/problem+json")


class EntryServer(DrainingServer):
    """Ends with exit code 0 after SIGTERM."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again at the end, which reads as a crash
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def serve(settings: EntrySettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    limits = httpx2.Limits(
        max_connections=CONNECTIONS_MAX,
        max_keepalive_connections=50,
        # A service that stops closes idle connections after 2.5 s: be first
        keepalive_expiry=2.0,
    )
    async with httpx2.AsyncHTTPTransport(trust_env=False, limits=limits) as transport:
        config = uvicorn.Config(
            Entry(
                settings.services,
                transport,
                trusted_proxies=parse_networks(settings.trusted_proxies),
            ),
            host=settings.entry_http_host,
            port=settings.entry_http_port,
            http="h11",
            lifespan="off",
            log_level="warning",
            access_log=False,  # addresses and queries are nobody's business
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        await EntryServer(config).serve()
