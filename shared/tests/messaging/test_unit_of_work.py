"""Events belong to their transaction: what rolls back was never told."""

import uuid
from contextlib import suppress

from shared.kernel.events import MoneyAccepted
from shared.runtime.database import Database
from shared.runtime.unit_of_work import Unit
from shared.testing.builders import money_accepted
from shared.tests.messaging.ledger import rows

OUTBOX = "SELECT event_id FROM outbox"


class Refusal(Exception):
    """What goes wrong behind an event."""


async def test_an_event_of_a_transaction_that_rolls_back_is_never_told(database: Database) -> None:
    with suppress(Refusal):
        async with database.transaction() as unit:
            tell(unit)
            await unit.flush()
            raise Refusal

    assert await rows(database, OUTBOX) == []


async def test_a_part_that_fails_takes_its_events_with_it_and_leaves_the_others(
    database: Database,
) -> None:
    async with database.transaction() as unit:
        first = tell(unit)
        with suppress(Refusal):
            async with unit.savepoint():
                tell(unit)
                await unit.flush()
                tell(unit)
                raise Refusal
        last = tell(unit)

    told = [row.event_id for row in await rows(database, OUTBOX + " ORDER BY id")]
    assert told == [first, last]


def tell(unit: Unit) -> uuid.UUID:
    person = uuid.uuid4()
    body: MoneyAccepted = money_accepted(insured_person_id=person, attempt_id=person)
    return unit.emit(body, subject=person, sequence=1, correlation_id=uuid.uuid4())
