"""Open a session for who proved to hold a phone; the first time, the person is created."""

from dataclasses import dataclass
from uuid import UUID

from services.identity.application.ports import AccessTokens, Person, Unit, Vault
from services.identity.domain.phone import Phone
from services.identity.domain.session import hash_refresh_token, new_refresh_token
from shared.kernel.clock import Clock
from shared.kernel.ids import new_id


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """What the phone keeps; without a repr, so that no log line can show it."""

    insured_person_id: UUID
    access_token: str
    expires_in: int
    refresh_token: str


async def open_session(
    unit: Unit, phone: Phone, *, vault: Vault, access_tokens: AccessTokens, clock: Clock
) -> Tokens:
    """A new family of refresh tokens, and the first access token."""
    now = clock.now()
    candidate_id = new_id()
    candidate = Person(candidate_id, vault.seal(phone, candidate_id), now)
    person = await unit.people.find_or_add(candidate, vault.index(phone))
    if vault.needs_resealing(person.phone_sealed):
        sealed = vault.seal(phone, person.insured_person_id)
        await unit.people.reseal(person.insured_person_id, sealed)
    session_id = new_id()
    await unit.sessions.open(session_id, person.insured_person_id, now)
    refresh_token = new_refresh_token()
    await unit.sessions.add_token(session_id, hash_refresh_token(refresh_token), now)
    return Tokens(
        insured_person_id=person.insured_person_id,
        access_token=access_tokens.sign(
            insured_person_id=person.insured_person_id, session_id=session_id, now=now
        ),
        expires_in=access_tokens.lifetime_seconds,
        refresh_token=refresh_token,
    )
