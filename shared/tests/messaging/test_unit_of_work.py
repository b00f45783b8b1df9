"""Events belong to their transaction: what rolls back was never told."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

import pytest

from shared.kernel.events import MoneyAccepted
from shared.kernel.transitions import Move, Transitions
from shared.runtime.database.database import Database
from shared.runtime.database.statements import text
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.ground.metrics import REGISTRY, declare_transitions
from shared.tests.messaging.ledger import rows
from testing.builders import money_accepted

OUTBOX = "SELECT event_id FROM outbox"

CHECKED_AT_COMMIT = """
CREATE TEMPORARY TABLE once (number integer UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP
"""


class Work(StrEnum):
    BEGUN = "BEGUN"
    ENDED = "ENDED"


WORK = Transitions("work", Work, Work.BEGUN, [Move(Work.BEGUN, Work.ENDED, "done")])


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


async def test_the_end_is_told_once_it_is_known_and_a_part_that_failed_at_once(
    database: Database,
) -> None:
    told: list[tuple[str, bool]] = []

    def hear(name: str) -> Callable[[bool], None]:
        return lambda is_committed: told.append((name, is_committed))

    async with database.transaction() as unit:
        unit.at_end(hear("before"))
        with suppress(Refusal):
            async with unit.savepoint():
                unit.at_end(hear("failed part"))
                raise Refusal
        async with unit.savepoint():
            unit.at_end(hear("part"))
        assert told == [("failed part", False)]
    with suppress(Refusal):
        async with database.transaction() as unit:
            unit.at_end(hear("rolled back"))
            raise Refusal

    assert told == [
        ("failed part", False),
        ("before", True),
        ("part", True),
        ("rolled back", False),
    ]


async def test_a_commit_that_fails_is_not_told_as_one(database: Database) -> None:
    told: list[bool] = []

    async def fail_at_commit() -> None:
        async with database.transaction() as unit:
            await unit.connection.execute(text(CHECKED_AT_COMMIT))
            await unit.connection.execute(text("INSERT INTO once VALUES (1), (1)"))
            unit.at_end(told.append)

    with pytest.raises(Exception, match="duplicate key"):
        await fail_at_commit()

    assert told == [False]


async def test_moves_are_counted_once_and_only_when_they_are_committed(database: Database) -> None:
    """A batch that rolls back is tried again in halves: each try makes the same moves."""
    begun, ended = (Work.BEGUN, Work.ENDED), (Work.ENDED, Work.ENDED)
    declare_transitions(WORK)
    with suppress(Refusal):
        async with database.transaction() as unit:
            unit.count_moves(WORK, [begun, begun])
            raise Refusal
    assert moves_counted() == 0

    async with database.transaction() as unit:
        with suppress(Refusal):
            async with unit.savepoint():
                unit.count_moves(WORK, [begun, begun])
                raise Refusal
        async with unit.savepoint():
            unit.count_moves(WORK, [begun, ended])
        assert moves_counted() == 0
    assert moves_counted() == 1

    async with database.one_statement() as statement:
        statement.count_moves(WORK, [begun, begun, ended])
    assert moves_counted() == 3


def moves_counted() -> float | None:
    labels = {"machine": "work", "from": "BEGUN", "to": "ENDED"}
    return REGISTRY.get_sample_value("songhe_state_transitions_total", labels)


def tell(unit: Unit) -> uuid.UUID:
    person = uuid.uuid4()
    body: MoneyAccepted = money_accepted(insured_person_id=person, attempt_id=person)
    return unit.emit(body, subject=person, sequence=1, correlation_id=uuid.uuid4())
