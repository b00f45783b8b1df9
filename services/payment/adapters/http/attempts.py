"""Attempts over HTTP: a payer begins at a cashier, begins again, or gives one up.

The attempt and its lease are committed before the channel is called, no transaction is open
during the call, and the same key repeats the identical start of the same attempt.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from fastapi import APIRouter, Request, Response

from services.payment.adapters.http.attempt_models import NewAttempt, StartedOut
from services.payment.adapters.http.models import OrderOut
from services.payment.adapters.http.parts import Here, Parts, find
from services.payment.adapters.metrics import ATTEMPTS_STARTED
from services.payment.adapters.postgres.unit import PaymentUnit
from services.payment.application.close_attempts import want_attempt_closed
from services.payment.application.ports import DueAttempt, PayerDetails
from services.payment.application.start_attempts import StartAttempt, open_attempt
from services.payment.domain.next_action import Started
from services.payment.domain.payment_attempt import AttemptStatus, Call, PaymentAttempt
from services.payment.domain.payment_order import PaymentOrder
from services.payment.domain.refusal import CHANNEL_SILENT, named, refused
from shared.kernel.errors import WordedOutage
from shared.kernel.ids import new_id
from shared.kernel.wording import Language
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.http.idempotency import Answer, answer_once
from shared.runtime.http.languages import PreferredLanguage
from shared.runtime.http.web import IdempotencyKey, Person

# 192 bits from the system's source: not to be guessed by anybody who asks for ever.
RETURN_TOKEN_BYTES = 24
# People come back the next morning; after that they log in.
RETURN_LIFETIME = timedelta(hours=24)
RETURN_PATH = "/payment/v1/returns/"
SILENT_RETRY_SECONDS = 2

router = APIRouter()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """An attempt under our lease, and its payer's way back; the token is in no table."""

    due: DueAttempt
    return_token: str
    return_until: datetime


@router.post("/orders/{order_id}/attempts", status_code=201, response_model=StartedOut)
async def start_attempt(
    order_id: UUID,
    body: NewAttempt,
    key: IdempotencyKey,
    person: Person,
    request: Request,
    language: PreferredLanguage,
    here: Here,
) -> Response:
    """Begin to pay at a cashier: the answer says what the payer must do next.

    The same key and body begin the same attempt again, with a fresh action.
    """
    view = await find(here, order_id, person.insured_person_id)
    wanted = StartAttempt(
        order_id=order_id,
        channel=body.channel,
        method=body.method,
        has_openid=body.openid is not None,
        attempt_id=new_id(),
    )
    begun: list[_Begun | None] = []

    async def use_case(unit: Unit) -> Answer:
        attempt_id = await open_attempt(
            PaymentUnit(unit), wanted, channels=here.configured, now=here.clock.now()
        )
        begun.append(await _take(here, unit, view.order, attempt_id))
        return Answer.of(201, {"attempt_id": attempt_id})

    stored = await answer_once(
        here.database,
        subject=person.insured_person_id,
        operation="start_attempt",
        key=key,
        request={"order_id": order_id, **body.model_dump()},
        use_case=use_case,
        language=language,
    )
    if stored.status_code != 201:
        return stored
    attempt_id = UUID(json.loads(bytes(stored.body))["attempt_id"])
    if not begun:
        async with here.database.transaction() as unit:
            begun.append(await _take(here, unit, view.order, attempt_id))
    shown = await _start(here, request, body, begun[0], attempt_id)
    content = shown.model_dump_json()
    return Response(content, 201, media_type="application/json")


async def _take(here: Parts, unit: Unit, order: PaymentOrder, attempt_id: UUID) -> _Begun | None:
    payment = PaymentUnit(unit)
    due = await here.calls.take(payment, attempt_id, call=Call.START)
    if due is None:
        return None
    token, until = secrets.token_urlsafe(RETURN_TOKEN_BYTES), order.expires_at + RETURN_LIFETIME
    await payment.return_tokens.issue(token, order_id=order.id, expires_at=until)
    return _Begun(due=due, return_token=token, return_until=until)


async def _start(
    here: Parts, request: Request, body: NewAttempt, begun: _Begun | None, attempt_id: UUID
) -> StartedOut:
    """Call the channel and tell what came of it; raises Refused or Unavailable where nothing."""
    if begun is None:
        raise _not_begun(here, await _read(here, attempt_id))
    started = await here.calls.start(begun.due, _details(here, request, body, begun))
    attempt = await _read(here, attempt_id)
    told = attempt.status.value.lower() if started is None else "action"
    ATTEMPTS_STARTED.labels(attempt.channel, told).inc()
    if attempt.status is AttemptStatus.DECLINED:
        reason = attempt.reason.value if attempt.reason else None
        raise refused("attempt_declined", channel=here.channel_name(body.channel), reason=reason)
    if started is None and attempt.status is not AttemptStatus.SUCCEEDED:
        wording = named(CHANNEL_SILENT, here.channel_name(body.channel))
        raise WordedOutage("channel_silent", wording, retry_after_seconds=SILENT_RETRY_SECONDS)
    is_paid = attempt.status is AttemptStatus.SUCCEEDED
    return _shown(attempt, None if is_paid else started, begun)


def _not_begun(here: Parts, attempt: PaymentAttempt) -> Exception:
    if attempt.status is AttemptStatus.SUCCEEDED:
        return refused("attempt_succeeded")
    if attempt.status is AttemptStatus.DECLINED:
        return refused("attempt_declined", channel=here.channel_name(attempt.channel))
    if attempt.shall_close(here.clock.now()) or not attempt.is_open:
        return refused("attempt_closed")
    return refused("attempt_busy", retry_after_seconds=1)


def _details(here: Parts, request: Request, body: NewAttempt, begun: _Begun) -> PayerDetails:
    peer = request.client.host if request.client else None
    address = here.client_addresses.of(peer, request.headers.getlist("x-forwarded-for"))
    base = here.return_base_url
    return PayerDetails(
        method=body.method,
        client_address=str(address) if address else None,
        openid=body.openid,
        return_url=f"{base.rstrip('/')}{RETURN_PATH}{begun.return_token}" if base else None,
    )


def _shown(attempt: PaymentAttempt, started: Started | None, begun: _Begun) -> StartedOut:
    return StartedOut.of(
        attempt, started, return_token=begun.return_token, return_until=begun.return_until
    )


@router.delete(
    "/orders/{order_id}/attempts/{attempt_id}",
    response_model=OrderOut,
    responses={202: {"model": OrderOut, "description": "The channel has not confirmed it yet"}},
)
async def close_attempt(
    order_id: UUID,
    attempt_id: UUID,
    person: Person,
    language: PreferredLanguage,
    here: Here,
) -> Response:
    """Give an attempt up: closed at the channel first, so that no money comes by it any more.

    202 while the channel has not confirmed that; we go on by ourselves. What was paid before
    counts: then the order is settled.
    """
    await find(here, order_id, person.insured_person_id)
    due = None
    async with here.database.transaction() as unit:
        payment = PaymentUnit(unit)
        is_open = await want_attempt_closed(
            payment, order_id=order_id, attempt_id=attempt_id, now=here.clock.now()
        )
        if is_open:
            due = await here.calls.take(payment, attempt_id, call=Call.QUERY)
    if due is not None:
        await here.calls.close(due)
    return await _order(here, order_id, attempt_id, person.insured_person_id, language)


async def _order(
    here: Parts, order_id: UUID, attempt_id: UUID, person_id: UUID, language: Language
) -> Response:
    view = await find(here, order_id, person_id)
    is_open = any(attempt.is_open for attempt in view.attempts if attempt.id == attempt_id)
    content = OrderOut.of(view, here.words(language)).model_dump_json()
    return Response(content, 202 if is_open else 200, media_type="application/json")


async def _read(here: Parts, attempt_id: UUID) -> PaymentAttempt:
    async with here.database.transaction() as unit:
        found = await PaymentUnit(unit).cashier_attempts.find([attempt_id])
    return found[attempt_id]
