"""The channels over HTTP: what they can do, and what they tell us by themselves."""

import hashlib
import logging
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from services.payment.adapters.http.channel_models import ChannelOut, ChannelPage
from services.payment.adapters.http.parts import Here, Parts
from services.payment.adapters.metrics import NOTIFICATION_SECONDS, NOTIFICATIONS
from services.payment.application.hear_notifications import Hearing
from services.payment.application.ports import CashierChannel, HeardNotification
from services.payment.domain.channel_notification import (
    ChannelReply,
    NotificationRefused,
    RawNotification,
    RefusalReason,
    VerifiedNotification,
)
from services.payment.domain.refusal import refused
from shared.runtime.http.languages import PreferredLanguage
from shared.runtime.http.web import Person

log = logging.getLogger(__name__)

ChannelId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
PLAIN: dict[str, Any] = {"text/plain": {}, "application/json": {}}


class _Unread(APIRoute):
    """A route whose request is not read before its endpoint: all that counts is in raw bytes.

    The OpenAPI document is still built from the endpoint's parameters; finding each of them anew
    for every callback would take as long as verifying it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        hear: Callable[..., Coroutine[Any, Any, Response]] = self.endpoint

        async def handle(request: Request) -> Response:
            return await hear(request.path_params["channel"], request, request.app.state.parts)

        return handle


router = APIRouter()
callbacks = APIRouter(route_class=_Unread)


@router.get("/channels")
async def list_channels(
    _person: Person, language: PreferredLanguage, here: Here, response: Response
) -> ChannelPage:
    """The ways to pay: what each can do, and whether a payment can begin there now."""
    response.headers["Vary"] = "Accept-Language"
    shown = [
        ChannelOut.of(
            channel,
            language,
            stopped=here.switches.stopped,
            slow=here.pace.slow(),
            silent=here.silent,
            configured=here.configured,
        )
        for channel in here.channels.values()
    ]
    return ChannelPage(items=shown)


@callbacks.post(
    "/channels/{channel}/notifications",
    response_class=Response,
    responses={
        200: {"content": PLAIN, "description": "It is recorded; what the channel expects to hear"},
        204: {"description": "It is recorded"},
        400: {"content": PLAIN, "description": "It is not believed"},
        401: {"content": PLAIN, "description": "Its signature is not valid"},
        413: {"content": PLAIN, "description": "It is too large"},
        500: {"content": PLAIN, "description": "Not recorded: send it again"},
        503: {"content": PLAIN, "description": "Not recorded: send it again"},
    },
)
async def hear_notification(channel: ChannelId, request: Request, here: Here) -> Response:
    """For channels only: the raw body is believed for its signature and nothing else.

    Answered in the channel's own words, after the effect is committed.
    """
    cashier = here.cashiers.get(channel)
    if cashier is None:
        raise refused("channel_not_notifying")
    started_at = perf_counter()
    body = b""
    try:
        body = await _body(request)
        await _hear(here, channel, cashier, request, body)
        reply = cashier.acknowledgement
    except NotificationRefused as refusal:
        await here.evidence.keep(channel, refusal.reason, body)
        reply = cashier.refusal(refusal.reason)
    NOTIFICATION_SECONDS.labels(channel).observe(perf_counter() - started_at)
    return _response(reply)


async def _hear(
    here: Parts, channel: str, cashier: CashierChannel, request: Request, body: bytes
) -> None:
    """Raises NotificationRefused unless it is committed, or tells nothing about any attempt."""
    # Starlette's names are in lower case.
    told = _verified(cashier, RawNotification(dict(request.headers.items()), body))
    attempt_id = _attempt_id(told.attempt_number)
    hearing = Hearing.NOT_OURS
    if attempt_id is not None:
        heard = HeardNotification(
            channel=channel,
            notification=told,
            attempt_id=attempt_id,
            body_sha256=hashlib.sha256(body).digest(),
            received_at=here.clock.now(),
        )
        hearing = await _recorded(here, heard)
    NOTIFICATIONS.labels(channel, hearing.value).inc()
    if hearing is Hearing.NOT_OURS and told.answer is not None:
        raise NotificationRefused(RefusalReason.OTHER_ATTEMPT)


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except HTTPException:
        raise NotificationRefused(RefusalReason.TOO_LARGE) from None


def _verified(cashier: CashierChannel, raw: RawNotification) -> VerifiedNotification:
    try:
        return cashier.verify(raw)
    except NotificationRefused:
        raise
    except Exception:
        log.exception("channel %s could not read a notification", cashier.capabilities.id)
        raise NotificationRefused(RefusalReason.MALFORMED) from None


def _attempt_id(number: str) -> UUID | None:
    """None for what can be no order number of ours: those are written in one way only."""
    try:
        attempt_id = UUID(hex=number)
    except ValueError:
        return None
    return attempt_id if attempt_id.hex == number else None


async def _recorded(here: Parts, heard: HeardNotification) -> Hearing:
    try:
        return await here.desk.hear(heard)
    except Exception as error:
        log.warning("notification_not_recorded: %s", type(error).__name__)
        raise NotificationRefused(RefusalReason.UNAVAILABLE) from error


def _response(reply: ChannelReply) -> Response:
    return Response(reply.body, reply.status, media_type=reply.media_type)


router.include_router(callbacks)
