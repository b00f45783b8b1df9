"""What holds for every request before and after FastAPI: limits, ids, headers, log, metrics.

One pure ASGI layer. It answers what does not fit the OpenAPI document by itself, and turns
whatever escapes into a problem document: no request ever ends in a bare 500 page.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.kernel.ids import new_id
from shared.runtime.ground import metrics
from shared.runtime.http.problems import internal_error, problem, render

BODY_BYTES_MAX = 64 * 1024
QUERY_PARAMETERS_MAX = 50
CORRELATION_HEADER = "X-Correlation-Id"
# A path parameter of this name ending opens something to whoever holds it.
TOKEN_PARAMETER = "_token}"
# An operation that says so in its document takes whatever others append to its query.
OPEN_QUERY = "x-open-query"
# nginx's word for "the caller went away"; the metric needs some code.
CLIENT_WENT_AWAY = 499

log = structlog.get_logger("http")


@dataclass(frozen=True, slots=True)
class Operation:
    """What the OpenAPI document says about one method of one path."""

    query: frozenset[str]
    # Others may append parameters of their own, which nobody reads.
    has_open_query: bool
    has_body: bool


@dataclass(frozen=True, slots=True)
class Route:
    """One path template of the OpenAPI document."""

    template: str
    pattern: re.Pattern[str]
    operations: Mapping[str, Operation]


class Surface:
    """All routes of an OpenAPI document, and its own: finds the one a path belongs to."""

    def __init__(self, document: Mapping[str, Any], *, document_path: str) -> None:
        paths: dict[str, Any] = {document_path: {"get": {}}, **document["paths"]}
        self._routes = [_route(template, item) for template, item in paths.items()]

    def find(self, path: str, method: str) -> Route | None:
        matching = [route for route in self._routes if route.pattern.match(path)]
        knowing = [route for route in matching if method in route.operations]
        return next(iter(knowing or matching), None)


class HttpEdge:
    """Wraps the application; see the module's first lines."""

    def __init__(self, app: ASGIApp, surface: Callable[[], Surface]) -> None:
        self._app = app
        self._read_surface = surface
        self._surface: Surface | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._surface is None:
            # With `lifespan.startup`, where there is one: no request shall wait for it.
            self._surface = self._read_surface()
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = self._surface.find(scope["path"], scope["method"])
        exchange = _Exchange(scope, receive, send, route)
        with structlog.contextvars.bound_contextvars(correlation_id=str(exchange.correlation_id)):
            await exchange.answer(self._app)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, route: Route | None) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._route = route
        self._headers = Headers(scope=scope)
        self._status: int | None = None
        self._body_bytes = 0
        self._started_at = time.perf_counter()
        self._is_observed = False
        self.correlation_id = _correlation_id(self._headers)
        scope.setdefault("state", {})["correlation_id"] = self.correlation_id

    async def answer(self, app: ASGIApp) -> None:
        try:
            refusal = _refusal(self._scope, self._headers, self._route)
            target = app if refusal is None else refusal
            await target(self._scope, self._limited_receive, self._observed_send)
        except Exception as error:  # noqa: BLE001 - the last place: nothing may escape as bare 500
            await self._fail(error)
        finally:
            self._finish()

    async def _fail(self, error: Exception) -> None:
        response = render(error)
        if response is None:
            log.error("request_failed", route=self._template, exc_info=error)
            response = internal_error()
        else:
            log.warning("request_unavailable", route=self._template, error=type(error).__name__)
        if self._status is None:
            await response(self._scope, self._receive, self._observed_send)

    async def _limited_receive(self) -> Message:
        message = await self._receive()
        self._body_bytes += len(message.get("body", b""))
        if self._body_bytes > BODY_BYTES_MAX:
            raise HTTPException(413)
        return message

    async def _observed_send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[CORRELATION_HEADER] = str(self.correlation_id)
            headers.setdefault("Cache-Control", "no-store")
            headers.setdefault("X-Content-Type-Options", "nosniff")
            if headers.get("Content-Type", "").startswith("text/event-stream"):
                # A stream lasts as long as somebody watches: only its start is our speed.
                self._observe()
        await self._send(message)

    def _finish(self) -> None:
        self._observe()
        log.info(
            "request",
            method=self._scope["method"],
            route=self._template,
            path=self._loggable_path,
            status=self._status or CLIENT_WENT_AWAY,
            seconds=round(time.perf_counter() - self._started_at, 4),
        )

    def _observe(self) -> None:
        if self._is_observed:
            return
        self._is_observed = True
        method = self._scope["method"] if self._route is not None else "*"
        if self._route is not None and method not in self._route.operations:
            method = "*"
        code = str(self._status or CLIENT_WENT_AWAY)
        metrics.HTTP_REQUEST_SECONDS.labels(self._template, method, code).observe(
            time.perf_counter() - self._started_at
        )

    @property
    def _loggable_path(self) -> str | None:
        """None where the path is a stranger's, or holds a token: logs are read by many."""
        if self._route is None or TOKEN_PARAMETER in self._route.template:
            return None
        path: str = self._scope["path"]
        return path

    @property
    def _template(self) -> str:
        return self._route.template if self._route is not None else "unmatched"


def _refusal(scope: Scope, headers: Headers, route: Route | None) -> Response | None:
    """The answer to what the OpenAPI document does not know; None lets the request pass."""
    if route is None:
        return render(HTTPException(404))
    operation = route.operations.get(scope["method"])
    if operation is None:
        return render(HTTPException(405, headers={"Allow": ", ".join(sorted(route.operations))}))
    if "\x00" in scope["path"]:
        return _unreadable("path")
    return _refused_query(scope, operation) or _refused_body(headers, operation)


def _refused_query(scope: Scope, operation: Operation) -> Response | None:
    try:
        query = parse_qsl(
            scope["query_string"].decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=QUERY_PARAMETERS_MAX,
        )
    except ValueError:
        return problem(400, "malformed_request", "The query has too many parameters.")
    for name, value in query:
        if name not in operation.query:
            if operation.has_open_query:
                continue
            return problem(400, "unknown_parameter", "The query has an unknown parameter.")
        if "\x00" in value:
            return _unreadable(f"query.{name}")
    return None


def _refused_body(headers: Headers, operation: Operation) -> Response | None:
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 9 or int(length) > BODY_BYTES_MAX:
        return render(HTTPException(413))
    has_body = int(length) > 0 or "transfer-encoding" in headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if operation.has_body and has_body and media_type != "application/json":
        return render(HTTPException(415))
    return None


def _unreadable(location: str) -> Response:
    faults = [{"location": location, "message": "A text must not contain the character NUL."}]
    detail = "The request is not valid: see errors."
    return problem(422, "invalid_request", detail, extra={"errors": faults})


def _correlation_id(headers: Headers) -> UUID:
    """The caller's, where it is a UUID, else a new one."""
    try:
        return UUID(headers.get(CORRELATION_HEADER, ""))
    except ValueError:
        return new_id()


def _route(template: str, item: Mapping[str, Any]) -> Route:
    operations = {
        method.upper(): _operation(operation, item.get("parameters", []))
        for method, operation in item.items()
        if method != "parameters"
    }
    return Route(template, compile_path(template)[0], operations)


def _operation(operation: Mapping[str, Any], shared: list[Mapping[str, Any]]) -> Operation:
    parameters = [*shared, *operation.get("parameters", [])]
    return Operation(
        query=frozenset(p["name"] for p in parameters if p["in"] == "query"),
        has_open_query=operation.get(OPEN_QUERY, False),
        has_body="requestBody" in operation,
    )
