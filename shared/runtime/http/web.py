"""The HTTP side of a service: one application with the same rules everywhere.

Errors are problem documents, unknown fields and parameters are refused, bodies end at 64 KiB.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, model_validator
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.kernel.errors import Contradiction, Refused, SongheError
from shared.runtime.ground import metrics
from shared.runtime.http.api_document import describe
from shared.runtime.http.edge import HttpEdge, Surface
from shared.runtime.http.languages import in_callers_language
from shared.runtime.http.problems import internal_error, render
from shared.runtime.keys.access_token import AccessTokens, Subject
from shared.runtime.keys.service_token import ServiceTokens
from shared.runtime.keys.tokens import TokenRefused

INTEGER_MAX = 2**63 - 1

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

log = structlog.get_logger(__name__)

_person_scheme = HTTPBearer(
    scheme_name="person", bearerFormat="JWT", auto_error=False, description="An access token"
)
_service_scheme = HTTPBearer(
    scheme_name="service", bearerFormat="JWT", auto_error=False, description="A service token"
)


class Strict(BaseModel):
    """Base of request bodies: unknown fields are refused, and what PostgreSQL cannot hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _holds_only_storable_values(cls, value: Any) -> Any:
        for part in _parts(value):
            _check_storable(part)
        return value


IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Chosen by the caller: the same key and body give the same answer again.",
    ),
]


def build_app(
    service: str,
    *,
    router: APIRouter,
    access_tokens: AccessTokens | None = None,
    service_tokens: ServiceTokens | None = None,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The application of `service`: `router` has full paths (`/<service>/v1/…`).

    `access_tokens` and `service_tokens` are what `require_person` and `require_service` ask.
    """
    document_path = f"/{service}/v1/openapi.json"
    app = FastAPI(
        title=f"Songhe {service}",
        version="1",
        openapi_url=document_path,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        # FastAPI's own telemetry records messages of errors, which may hold personal data.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    # At zero: the first contradiction must be seen as an increase.
    metrics.CONTRADICTIONS.labels("http")
    app.state.access_tokens = access_tokens
    app.state.service_tokens = service_tokens
    app.include_router(router, dependencies=[Depends(in_callers_language)])
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    for expected in (SongheError, HTTPException, RequestValidationError):
        app.add_exception_handler(expected, _answer_expected)
    app.add_middleware(
        HttpEdge, surface=lambda: Surface(app.openapi(), document_path=document_path)
    )
    return app


# Dependencies are async, since FastAPI runs a plain one in a thread, which costs more than it does.
async def correlation_of(request: Request) -> UUID:
    """The id that binds log lines and events of this request together."""
    correlation_id: UUID = request.state.correlation_id
    return correlation_id


async def require_person(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_person_scheme)],
) -> Subject:
    """The person who calls; 401 without a valid access token."""
    verifier: AccessTokens = request.app.state.access_tokens
    return await verifier.verify(_token(credentials))


def require_role(role: str) -> Callable[..., Any]:
    """A dependency like `require_person` that also wants `role`: 403 without."""

    async def require(person: Annotated[Subject, Depends(require_person)]) -> Subject:
        if role not in person.roles:
            raise Refused("role_missing", "This needs another role.", status=403)
        return person

    return require


def require_service(*allowed: str) -> Callable[..., Any]:
    """A dependency that gives the calling service's name: 403 unless it is one of `allowed`."""

    async def require(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_service_scheme)],
    ) -> str:
        verifier: ServiceTokens = request.app.state.service_tokens
        caller = verifier.verify(_token(credentials))
        if caller not in allowed:
            raise Refused("caller_not_allowed", "This service may not ask that.", status=403)
        return caller

    return require


Correlation = Annotated[UUID, Depends(correlation_of)]
Person = Annotated[Subject, Depends(require_person)]


def _token(credentials: HTTPAuthorizationCredentials | None) -> str:
    if credentials is None:
        raise TokenRefused("token_missing", "Send a token in the Authorization header.")
    return credentials.credentials


async def _answer_expected(request: Request, error: Exception) -> Response:
    if isinstance(error, Contradiction):
        metrics.CONTRADICTIONS.labels("http").inc()
        log.error("contradiction", detail=error.detail)
    response = render(error)
    if response is None:
        log.error("request_failed", exc_info=error)
        return internal_error()
    return response


def _parts(value: Any) -> Iterator[Any]:
    """Every scalar of a JSON value, keys included; without recursion, however deep it is."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            waiting.extend(part.keys())
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
        else:
            yield part


def _check_storable(part: Any) -> None:
    if isinstance(part, str):
        if "\x00" in part:
            raise ValueError("a text must not contain the character NUL")
        if not part.isascii() and any("\ud800" <= character <= "\udfff" for character in part):
            raise ValueError("a text must be valid Unicode")
    elif isinstance(part, int) and abs(part) > INTEGER_MAX:
        raise ValueError("a number is too large")
    elif isinstance(part, float) and not abs(part) < float("inf"):
        raise ValueError("a number must be finite")
