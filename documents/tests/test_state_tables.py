"""Every state table of every service, every pair of states."""

from enum import StrEnum
from itertools import product
from typing import Any

import pytest

from documents.states import machines
from shared.kernel.errors import Contradiction
from shared.kernel.transitions import Transitions


def states_of(machine: Transitions[Any]) -> list[StrEnum]:
    return list(machine.states.__members__.values())


MACHINES = machines()
PAIRS = [
    pytest.param(machine, source, target, id=f"{name}-{source.name}-{target.name}")
    for name, machine in MACHINES.items()
    for source, target in product(states_of(machine), repeat=2)
]
EXPECTED_MACHINES = {
    "billing/contribution",
    "notifier/notification",
    "payment/payment_attempt",
    "payment/payment_order",
    "payment/refund",
}


def test_the_machines_of_the_saga_are_found() -> None:
    assert set(MACHINES) >= EXPECTED_MACHINES


@pytest.mark.parametrize(("machine", "source", "target"), PAIRS)
def test_a_move_is_in_the_table_or_a_contradiction(
    machine: Transitions[Any], source: StrEnum, target: StrEnum
) -> None:
    listed = any((move.source, move.target) == (source, target) for move in machine.moves)

    if listed:
        assert machine.check(source, target, "it") is target
    else:
        with pytest.raises(Contradiction, match=machine.machine):
            machine.check(source, target, "it")


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_every_state_can_be_reached(machine: Transitions[Any]) -> None:
    reached, waiting = {machine.initial}, [machine.initial]
    while waiting:
        fresh = machine.targets(waiting.pop()) - reached
        reached |= fresh
        waiting.extend(fresh)

    assert reached == set(states_of(machine))


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_no_move_is_listed_twice_or_leads_back_to_itself(machine: Transitions[Any]) -> None:
    pairs = [(move.source, move.target) for move in machine.moves]

    assert len(pairs) == len(set(pairs))
    assert [pair for pair in pairs if pair[0] is pair[1]] == []


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_every_move_names_its_cause(machine: Transitions[Any]) -> None:
    assert [move for move in machine.moves if not move.cause.strip()] == []
