"""The HTTP endpoints of identity: codes, sessions, the person, and contacts for services."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, NoReturn
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request, Response

from services.identity.adapters.http.client_address import budget_name
from services.identity.adapters.http.counting import counted
from services.identity.adapters.http.models import (
    Contact,
    JwkSet,
    Me,
    NewSession,
    NewSmsCode,
    RefreshRequest,
    SessionTokens,
    SmsCodeSent,
)
from services.identity.adapters.metrics import REFRESHES, SESSIONS_OPENED
from services.identity.adapters.postgres.unit import IdentityUnit
from services.identity.application.close_session import close_session
from services.identity.application.open_session import open_session
from services.identity.application.ports import AccessTokens, Codes, Vault
from services.identity.application.prove_phone import prove_phone
from services.identity.application.read_person import read_contact, read_own_person
from services.identity.application.refresh_session import refresh_session
from services.identity.application.send_code import SendCode
from services.identity.domain.one_time_code import Purpose
from services.identity.domain.refusal import refused
from services.identity.domain.session import RefreshVerdict
from shared.kernel.clock import Clock
from shared.runtime.database.database import Database
from shared.runtime.http.client_address import ClientAddresses
from shared.runtime.http.languages import language_of
from shared.runtime.http.parts import parts_of
from shared.runtime.http.web import Person, require_service
from shared.runtime.keys.access_token import SigningKeys

# Verifiers ask every few minutes; a new key is published well before it signs.
JWKS_CACHE = "public, max-age=60"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the endpoints work with; `main` puts it on the application."""

    database: Database
    send_code: SendCode
    codes: Codes
    vault: Vault
    access_tokens: AccessTokens
    signing_keys: SigningKeys
    client_addresses: ClientAddresses
    session_idle: timedelta
    clock: Clock


Here = Annotated[Parts, Depends(parts_of)]
router = APIRouter(prefix="/identity/v1", dependencies=[Depends(counted)])


@router.post("/sms-codes", status_code=202)
async def send_sms_code(body: NewSmsCode, request: Request, here: Here) -> SmsCodeSent:
    """Send a one-time code by SMS; the answer does not tell whether the number is known."""
    peer = request.client.host if request.client else None
    address = here.client_addresses.of(peer, request.headers.getlist("x-forwarded-for"))
    sent = await here.send_code(
        body.phone,
        purpose=Purpose(body.purpose),
        client_address=budget_name(address),
        language=language_of(request),
    )
    return SmsCodeSent(
        request_id=sent.request_id,
        expires_in=sent.expires_in,
        resend_after_seconds=sent.resend_after_seconds,
    )


@router.post("/sessions", status_code=201)
async def create_session(body: NewSession, here: Here) -> SessionTokens:
    """Exchange a code for a session; the first log-in with a phone creates the person."""
    phone = await prove_phone(
        body.request_id, body.code, purpose=Purpose.LOGIN, codes=here.codes, vault=here.vault
    )
    async with here.database.transaction() as unit:
        tokens = await open_session(
            IdentityUnit(unit),
            phone,
            vault=here.vault,
            access_tokens=here.access_tokens,
            clock=here.clock,
        )
    SESSIONS_OPENED.inc()
    return SessionTokens.of(tokens)


@router.post("/sessions/refresh")
async def renew_session(body: RefreshRequest, here: Here) -> SessionTokens:
    """Exchange a refresh token; showing one that was used before ends the whole session.

    Who lost the answer may show the last one again, once, within 30 seconds.
    """
    # Before the wait for a connection: what is used from now on, is used at the same time.
    arrived_at = here.clock.now()
    async with here.database.transaction() as unit:
        renewed = await refresh_session(
            IdentityUnit(unit),
            body.refresh_token,
            arrived_at=arrived_at,
            idle=here.session_idle,
            access_tokens=here.access_tokens,
            clock=here.clock,
        )
    REFRESHES.labels(str(renewed.verdict)).inc()
    if renewed.tokens is None:
        _refuse_refresh(renewed.verdict)
    return SessionTokens.of(renewed.tokens)


@router.delete("/sessions/current", status_code=204)
async def delete_session(person: Person, here: Here) -> Response:
    """Log out; doing so twice is no error."""
    async with here.database.transaction() as unit:
        await close_session(IdentityUnit(unit), person.session_id, clock=here.clock)
    return Response(status_code=204)


@router.get("/me")
async def read_me(person: Person, here: Here) -> Me:
    """The person who calls; 401 once the session was closed."""
    async with here.database.transaction() as unit:
        found, phone = await read_own_person(
            IdentityUnit(unit),
            insured_person_id=person.insured_person_id,
            session_id=person.session_id,
            vault=here.vault,
        )
    return Me(
        insured_person_id=found.insured_person_id,
        phone_masked=phone.masked,
        created_at=found.created_at,
    )


@router.get("/internal/contacts/{insured_person_id}")
async def read_contact_of(
    insured_person_id: UUID,
    caller: Annotated[str, Depends(require_service("notifier"))],
    here: Here,
) -> Contact:
    """The phone number of a person, for notifier only."""
    async with here.database.transaction() as unit:
        phone = await read_contact(
            IdentityUnit(unit), insured_person_id=insured_person_id, vault=here.vault
        )
    return Contact(insured_person_id=insured_person_id, phone=phone.e164)


@router.get("/.well-known/jwks.json")
async def read_jwks(response: Response, here: Here) -> JwkSet:
    """The public keys of all access tokens that may still be alive."""
    response.headers["Cache-Control"] = JWKS_CACHE
    return JwkSet(**here.signing_keys.jwks())


def _refuse_refresh(verdict: RefreshVerdict) -> NoReturn:
    if verdict is RefreshVerdict.OVERTAKEN:
        raise refused("refresh_in_progress", retry_after_seconds=1)
    if verdict is RefreshVerdict.REUSED:
        log.warning("refresh_token_reused")
    raise refused("session_ended")
