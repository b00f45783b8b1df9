"""The HTTP endpoints of payment: orders, their live status, and the channels."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.payment.adapters.api_models import (
    ChannelOut,
    ChannelPage,
    OrderOut,
    StreamTicket,
    SupportLine,
    Words,
)
from services.payment.adapters.order_streams import End, OrderStreams, Told, Watch
from services.payment.adapters.order_views import OrderView, find_order
from services.payment.adapters.stream_tickets import (
    LIFETIME_SECONDS,
    TICKET_CHARACTERS_MAX,
    StreamTickets,
)
from services.payment.domain.channel import Capabilities
from services.payment.domain.status_text import Language
from shared.kernel.clock import Clock
from shared.kernel.errors import Refused
from shared.runtime.access_token import Subject
from shared.runtime.database import Database
from shared.runtime.languages import PreferredLanguage
from shared.runtime.web import Person

# A phone may keep what it shows, but asks each time whether it is still true.
OWN_CACHE = "private, no-cache"
# How long a page waits before it opens the stream again after a cut.
RECONNECT_MS = 3000
VERSION_MAX = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the endpoints work with; `main` puts it on the application."""

    database: Database
    channels: Mapping[str, Capabilities]
    support: SupportLine
    tickets: StreamTickets
    streams: OrderStreams
    clock: Clock

    def words(self, language: Language) -> Words:
        return Words(
            channels=self.channels,
            support=self.support,
            language=language,
            now=self.clock.now(),
        )


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def _language(preferred: PreferredLanguage) -> Language:
    return Language(preferred)


Here = Annotated[Parts, Depends(_parts)]
InLanguage = Annotated[Language, Depends(_language)]
router = APIRouter(prefix="/payment/v1")


@router.get(
    "/orders/{order_id}",
    response_model=OrderOut,
    responses={304: {"description": "It is as the caller knows it"}},
)
async def read_order(
    order_id: UUID,
    person: Person,
    language: InLanguage,
    here: Here,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """An order that the caller pays or is insured by; with `If-None-Match` only if it changed."""
    view = await _find(here, order_id, person)
    shown = OrderOut.of(view, here.words(language))
    return _answer_if_changed(shown.model_dump_json().encode(), if_none_match)


@router.post("/orders/{order_id}/stream-tickets", status_code=201)
async def create_stream_ticket(order_id: UUID, person: Person, here: Here) -> StreamTicket:
    """A ticket to open the order's live status once, within a minute."""
    await _find(here, order_id, person)
    ticket = await here.tickets.issue(order_id=order_id, person_id=person.insured_person_id)
    return StreamTicket(ticket=ticket, expires_in=LIFETIME_SECONDS)


@router.get(
    "/orders/{order_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Live status"}},
)
async def stream_order(
    order_id: UUID,
    ticket: Annotated[str, Query(min_length=1, max_length=TICKET_CHARACTERS_MAX)],
    language: InLanguage,
    here: Here,
    last_event_id: Annotated[int, Query(ge=0, le=VERSION_MAX)] = 0,
) -> Response:
    """Server-Sent Events: `order` with its version as id, and `end` with the reason at last."""
    # Before the ticket is used up: it can be tried again.
    here.streams.check_room()
    person_id = await here.tickets.redeem(ticket, order_id=order_id)
    watch = here.streams.open(order_id, person_id, seen=last_event_id)
    return EventStream(here, watch, language)


@router.get("/channels")
async def list_channels(
    _person: Person, language: InLanguage, here: Here, response: Response
) -> ChannelPage:
    """The ways to pay."""
    response.headers["Vary"] = "Accept-Language"
    return ChannelPage(items=[ChannelOut.of(c, language) for c in here.channels.values()])


async def _find(here: Parts, order_id: UUID, person: Subject) -> OrderView:
    """Raises Refused: unknown, somebody else's and not yet opened orders answer the same."""
    view = await find_order(here.database, order_id, person_id=person.insured_person_id)
    if view is None:
        raise Refused(
            "order_not_yet_known",
            "There is no such order of yours, or not yet.",
            status=404,
            extra={"retry_after_seconds": 1},
        )
    return view


class EventStream(StreamingResponse):
    """One watch as Server-Sent Events; forgets the watch however the answer ends."""

    def __init__(self, here: Parts, watch: Watch, language: Language) -> None:
        super().__init__(
            _event_stream(here, watch, language),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._forget = partial(here.streams.close, watch)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._forget()


async def _event_stream(here: Parts, watch: Watch, language: Language) -> AsyncIterator[str]:
    yield f"retry: {RECONNECT_MS}\n\n"
    async for told in watch.tell():
        yield _event(told, here.words(language))


def _event(told: Told, words: Words) -> str:
    if isinstance(told, OrderView):
        # JSON without line breaks: a line break would end the data field.
        content = OrderOut.of(told, words).model_dump_json()
        return f"id: {told.order.version}\nevent: order\ndata: {content}\n\n"
    if isinstance(told, End):
        return f"event: end\ndata: {json.dumps({'reason': told.value})}\n\n"
    return ": alive\n\n"


def _answer_if_changed(content: bytes, if_none_match: str | None) -> Response:
    """Words depend on language and time, so the tag is made of the whole content."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": OWN_CACHE, "Vary": "Accept-Language"}
    known = [part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")]
    if tag in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")
