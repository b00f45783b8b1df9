"""The one place where errors become problem documents (RFC 9457): `code` is for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.kernel.errors import Contradiction, Malformed, Refused, Unavailable
from shared.runtime.database.database import is_transient
from shared.runtime.keys.tokens import TokenRefused

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:songhe:problem:"
ERRORS_MAX = 10
LOCATION_CHARACTERS_MAX = 120

CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "media_type_not_supported",
}
DETAILS = {
    400: "The request cannot be read.",
    404: "There is nothing at this address.",
    405: "This address does not support the method.",
    413: "The body is larger than 64 KiB.",
    415: "Send the body as application/json.",
}
CONTRADICTION = "This conflicts with what is recorded. It has been logged for our staff to check."


class Fault(BaseModel):
    """One thing that is wrong with a request, and where."""

    location: str
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457). Programs look at `code`, people read `detail`."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    code: str
    detail: str
    errors: list[Fault] | None = None


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    extra: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document; a `retry_after_seconds` in `extra` is also sent as Retry-After."""
    members = dict(extra or {})
    sent_headers = dict(headers or {})
    if (seconds := members.get("retry_after_seconds")) is not None:
        sent_headers.setdefault("Retry-After", str(seconds))
    members |= {
        "type": TYPE_PREFIX + code,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    # A lone surrogate that the caller sent must not make the answer fail.
    content = json.dumps(members, ensure_ascii=False, default=str).encode("utf-8", "replace")
    return Response(content, status, headers=sent_headers, media_type=MEDIA_TYPE)


def render(error: Exception) -> Response | None:
    """The answer for an error that is expected; None where it is a fault of ours."""
    match error:
        case Refused():
            return problem(error.status, error.code, error.detail, extra=error.extra)
        case Unavailable():
            return unavailable(error.code, error.detail, error.retry_after_seconds)
        case Malformed():
            return problem(400, "malformed", error.detail)
        case TokenRefused():
            return _unauthorized(error)
        case Contradiction():
            return problem(409, "contradiction", CONTRADICTION)
        case RequestValidationError():
            return _invalid(error.errors())
        case HTTPException():
            return _http(error)
    if is_transient(error) or _is_of_redis(error):
        return unavailable("unavailable", "Something we depend on is not answering now.", 5)
    return None


def _is_of_redis(error: Exception) -> bool:
    """Its errors come only where it is loaded: most APIs do without it."""
    loaded = sys.modules.get("redis.exceptions")
    return loaded is not None and isinstance(error, loaded.RedisError)


def unavailable(code: str, detail: str, retry_after_seconds: int) -> Response:
    return problem(503, code, detail, extra={"retry_after_seconds": retry_after_seconds})


def internal_error() -> Response:
    return problem(500, "internal_error", "Something went wrong on our side; it has been logged.")


def _unauthorized(error: TokenRefused) -> Response:
    challenge = "Bearer" if error.code == "token_missing" else 'Bearer error="invalid_token"'
    return problem(401, error.code, error.detail, headers={"WWW-Authenticate": challenge})


def _http(error: HTTPException) -> Response:
    code = CODES.get(error.status_code, "http_error")
    detail = DETAILS.get(error.status_code, HTTPStatus(error.status_code).phrase)
    return problem(error.status_code, code, detail, headers=error.headers)


def _invalid(errors: Sequence[Any]) -> Response:
    if any(fault["type"] == "json_invalid" for fault in errors):
        return problem(400, "malformed_json", "The body is not JSON.")
    key_faults = [fault for fault in errors if "idempotency-key" in _location(fault).lower()]
    if any(fault["type"] == "missing" for fault in key_faults):
        return problem(400, "idempotency_key_missing", "Send an Idempotency-Key header.")
    if key_faults:
        detail = "An Idempotency-Key has 1 to 255 visible ASCII characters."
        return problem(400, "idempotency_key_invalid", detail)
    faults = [
        {"location": _location(fault), "message": fault["msg"].removeprefix("Value error, ")}
        for fault in errors[:ERRORS_MAX]
    ]
    detail = "The request is not valid: see errors."
    return problem(422, "invalid_request", detail, extra={"errors": faults})


def _location(fault: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in fault["loc"])[:LOCATION_CHARACTERS_MAX]
