"""The HTTP endpoints of payment: orders and their live status, and those of its other files."""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.payment.adapters.http import attempts as attempts_api
from services.payment.adapters.http import channels as channels_api
from services.payment.adapters.http import returns as returns_api
from services.payment.adapters.http.models import OrderOut, StreamTicket, Words
from services.payment.adapters.http.order_streams import End, Told, Watch
from services.payment.adapters.http.parts import Here, Parts, find
from services.payment.adapters.postgres.views import OrderView
from services.payment.adapters.redis.stream_tickets import LIFETIME_SECONDS, TICKET_CHARACTERS_MAX
from shared.kernel.wording import Language
from shared.runtime.http.languages import PreferredLanguage
from shared.runtime.http.parts import answer_if_changed
from shared.runtime.http.web import Person

# How long a page waits before it opens the stream again after a cut.
RECONNECT_MS = 3000
VERSION_MAX = 2**31 - 1


router = APIRouter(prefix="/payment/v1")
for part in (attempts_api, channels_api, returns_api):
    router.include_router(part.router)


@router.get(
    "/orders/{order_id}",
    response_model=OrderOut,
    responses={304: {"description": "It is as the caller knows it"}},
)
async def read_order(
    order_id: UUID,
    person: Person,
    language: PreferredLanguage,
    here: Here,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """An order that the caller pays or is insured by; with `If-None-Match` only if it changed."""
    view = await find(here, order_id, person.insured_person_id)
    shown = OrderOut.of(view, here.words(language))
    return answer_if_changed(shown.model_dump_json().encode(), if_none_match)


@router.post("/orders/{order_id}/stream-tickets", status_code=201)
async def create_stream_ticket(order_id: UUID, person: Person, here: Here) -> StreamTicket:
    """A ticket to open the order's live status once, within a minute."""
    await find(here, order_id, person.insured_person_id)
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
    language: PreferredLanguage,
    here: Here,
    last_event_id: Annotated[int, Query(ge=0, le=VERSION_MAX)] = 0,
) -> Response:
    """Server-Sent Events: `order` with its version as id, and `end` with the reason at last."""
    # Before the ticket is used up: it can be tried again.
    here.streams.check_room()
    person_id = await here.tickets.redeem(ticket, order_id=order_id)
    watch = here.streams.open(order_id, person_id, seen=last_event_id)
    return EventStream(here, watch, language)


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
