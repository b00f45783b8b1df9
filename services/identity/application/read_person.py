"""What is known about a person: masked for themselves, the number for services that write to it."""

from uuid import UUID

from services.identity.application.ports import Person, Unit, Vault
from services.identity.domain.phone import Phone
from services.identity.domain.refusal import refused


async def read_own_person(
    unit: Unit, *, insured_person_id: UUID, session_id: UUID, vault: Vault
) -> tuple[Person, Phone]:
    """Raises Refused `session_ended` once the session was closed, though its token still lives."""
    if not await unit.sessions.is_open(session_id, insured_person_id):
        raise refused("session_ended")
    person = await unit.people.get(insured_person_id)
    if person is None:
        raise refused("session_ended")
    return person, vault.open(person.phone_sealed, insured_person_id)


async def read_contact(unit: Unit, *, insured_person_id: UUID, vault: Vault) -> Phone:
    """Raises Refused `person_unknown`."""
    person = await unit.people.get(insured_person_id)
    if person is None:
        raise refused("person_unknown")
    return vault.open(person.phone_sealed, insured_person_id)
