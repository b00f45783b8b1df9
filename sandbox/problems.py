"""The edge: problem+json for every error (RFC 9457), a bound on bodies, strict request models."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.kernel.errors import Malformed, Refused

BODY_LIMIT_BYTES = 64 * 1024

# Ours and the caller's alike: short, printable, safe in a path.
REFERENCE_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$"
ATTEMPT_PATTERN = r"^[0-9a-f]{32}$"

Reference = Annotated[str, Path(pattern=REFERENCE_PATTERN)]
AttemptId = Annotated[str, Path(pattern=ATTEMPT_PATTERN)]
Limit = Annotated[int, Query(ge=1, le=1000)]
# 18 digits stay inside SQLite's 64-bit integers.
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$")]


class Strict(BaseModel):
    """A request body that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """What every error looks like on the wire."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class Injected(Exception):
    """An answer that a fault on demand put in the place of the real one."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


def problem(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    return JSONResponse(
        body, status_code=status, media_type="application/problem+json", headers=headers
    )


def render_problems(app: FastAPI) -> None:
    """The one place where errors become answers."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return problem(error.status, error.code, error.detail)

    @app.exception_handler(Malformed)
    async def malformed(_: Request, error: Malformed) -> JSONResponse:
        return problem(400, "malformed", error.detail)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem(400, "malformed", "; ".join(map(_sentence, error.errors()[:5])))

    @app.exception_handler(Injected)
    async def injected(_: Request, error: Injected) -> JSONResponse:
        return problem(error.status, error.code, error.detail)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        code = "malformed" if error.status_code == 400 else code
        return problem(error.status_code, code, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> JSONResponse:
        return problem(500, "internal_error", "The sandbox itself broke; see its log.")


def _sentence(error: Mapping[str, object]) -> str:
    """Where and what, without the value: it may be long, or no text at all."""
    location = error["loc"]
    where = ".".join(map(str, location)) if isinstance(location, tuple) else str(location)
    return f"{where}: {error['msg']}".encode(errors="replace").decode()[:300]


class BodyLimit:
    """Reads the whole body before the application sees the request; too much is 413.

    What arrives after the body (the client going away) is passed on as it comes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = await _bounded_body(receive)
        if body is None:
            detail = f"A body may have at most {BODY_LIMIT_BYTES} bytes."
            return await problem(413, "body_too_large", detail)(scope, receive, send)
        held: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return held.pop() if held else await receive()

        await self._app(scope, replay, send)


async def _bounded_body(receive: Receive) -> bytes | None:
    """The body, or None as soon as it is too large; a client that left sent what it sent."""
    body = b""
    while True:
        message = await receive()
        chunk: bytes = message.get("body", b"")
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            return None
        if not message.get("more_body", False):
            return body
