"""Attempts over HTTP: a payer begins at a cashier, begins again, or gives one up.

The attempt and its lease are committed before the channel is called, no transaction is open
during the call, and the same key repeats the identical start of the same attempt.
"""

import json
from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request, Response

from services.payment.adapters.http.attempt_models import NewAttempt, StartedOut
from services.payment.adapters.http.models import OrderOut
from services.payment.adapters.http.parts import Here, Parts, find
from services.payment.adapters.metrics import ATTEMPTS_STARTED
from services.payment.adapters.postgres.unit import PaymentUnit
from services.payment.application.begin_payments import (
    Beginner,
    Beginning,
    NotBegun,
    Opened,
    Why,
)
from services.payment.application.close_attempts import want_attempt_closed
from services.payment.application.ports import PayerDetails
from services.payment.application.start_attempts import StartAttempt
from services.payment.domain.payment_attempt import Call
from services.payment.domain.refusal import CHANNEL_SILENT, named, refused
from shared.kernel.errors import WordedOutage
from shared.kernel.ids import new_id
from shared.kernel.wording import Language, Wording
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.http.idempotency import Answer, answer_once
from shared.runtime.http.languages import PreferredLanguage
from shared.runtime.http.web import IdempotencyKey, Person

RETURN_PATH = "/payment/v1/returns/"
SILENT_RETRY_SECONDS = 2

router = APIRouter()


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
    await find(here, order_id, person.insured_person_id)
    wanted = StartAttempt(
        order_id=order_id,
        channel=body.channel,
        method=body.method,
        has_openid=body.openid is not None,
        attempt_id=new_id(),
    )
    beginner = Beginner(calls=here.calls, channels=here.configured)
    opened: Opened | None = None

    async def use_case(unit: Unit) -> Answer:
        nonlocal opened
        opened = await beginner.open(PaymentUnit(unit), wanted)
        return Answer.of(201, {"attempt_id": opened.attempt_id})

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
    if opened is None:
        attempt_id = UUID(json.loads(bytes(stored.body))["attempt_id"])
        async with here.database.transaction() as unit:
            opened = await beginner.take(PaymentUnit(unit), attempt_id)
    beginning = await beginner.start(opened, wanted, partial(_details, here, request, body))
    shown = _shown(beginning, here.channel_name(body.channel))
    content = shown.model_dump_json()
    return Response(content, 201, media_type="application/json")


def _shown(beginning: Beginning, channel: Wording) -> StartedOut:
    """Raises Refused or Unavailable where nothing began."""
    attempt = beginning.attempt
    if isinstance(beginning, NotBegun):
        if beginning.was_called:
            ATTEMPTS_STARTED.labels(attempt.channel, attempt.status.value.lower()).inc()
        raise _refusal(beginning, channel)
    told = "action" if beginning.started is not None else attempt.status.value.lower()
    ATTEMPTS_STARTED.labels(attempt.channel, told).inc()
    return StartedOut.of(
        attempt,
        beginning.started,
        return_token=beginning.return_token,
        return_until=beginning.return_until,
    )


def _refusal(not_begun: NotBegun, channel: Wording) -> Exception:
    match not_begun.why:
        case Why.SUCCEEDED:
            return refused("attempt_succeeded")
        case Why.DECLINED:
            reason = not_begun.attempt.reason
            return refused(
                "attempt_declined", channel=channel, reason=reason.value if reason else None
            )
        case Why.CLOSED:
            return refused("attempt_closed")
        case Why.BUSY:
            return refused("attempt_busy", retry_after_seconds=1)
        case Why.SILENT:
            wording = named(CHANNEL_SILENT, channel)
            return WordedOutage("channel_silent", wording, retry_after_seconds=SILENT_RETRY_SECONDS)


def _details(here: Parts, request: Request, body: NewAttempt, return_token: str) -> PayerDetails:
    peer = request.client.host if request.client else None
    address = here.client_addresses.of(peer, request.headers.getlist("x-forwarded-for"))
    base = here.return_base_url
    return PayerDetails(
        method=body.method,
        client_address=str(address) if address else None,
        openid=body.openid,
        return_url=f"{base.rstrip('/')}{RETURN_PATH}{return_token}" if base else None,
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
