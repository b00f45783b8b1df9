"""What endpoints of several services share: what they work with, types and tags of answers."""

import hashlib
from datetime import datetime
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import BaseModel, Field, PlainSerializer, WithJsonSchema

from shared.kernel.clock import to_rfc3339

# A phone may keep what it shows, but asks each time whether it is still true.
OWN_CACHE = "private, no-cache"

Fen = Annotated[int, Field(description="1/100 yuan")]
Instant = Annotated[
    datetime,
    PlainSerializer(to_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


class Support(BaseModel):
    """Whom to call."""

    name: str
    phone: str


class StatusOut(BaseModel):
    """The one status for people; every surface shows these words."""

    headline: str
    explanation: str
    next_step: str
    next_update_by: Instant | None
    can_pay: bool
    can_retry: bool
    support: Support


async def parts_of(request: Request) -> Any:
    """The `Parts` of the service, which its wiring put on the application."""
    return request.app.state.parts


def answer_if_changed(content: bytes, if_none_match: str | None) -> Response:
    """Words depend on language and time, so the tag is made of the whole content."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": OWN_CACHE, "Vary": "Accept-Language"}
    known = [part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")]
    if tag in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")
