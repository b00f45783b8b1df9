"""State machines as data, on a machine of the test's own."""

from enum import StrEnum

import pytest

from shared.kernel.errors import Contradiction
from shared.kernel.transitions import Move, Transitions


class Lamp(StrEnum):
    OFF = "off"
    ON = "on"
    BROKEN = "broken"


def lamp() -> Transitions[Lamp]:
    return Transitions(
        "lamp",
        Lamp,
        Lamp.OFF,
        [
            Move(Lamp.OFF, Lamp.ON, "switched on"),
            Move(Lamp.ON, Lamp.OFF, "switched off"),
            Move(Lamp.ON, Lamp.BROKEN, "burnt out: too old; too hot"),
        ],
    )


ALLOWED = {(Lamp.OFF, Lamp.ON), (Lamp.ON, Lamp.OFF), (Lamp.ON, Lamp.BROKEN)}


@pytest.mark.parametrize("source", Lamp)
@pytest.mark.parametrize("target", Lamp)
def test_what_is_not_listed_is_a_contradiction(source: Lamp, target: Lamp) -> None:
    table = lamp()
    as_data = dict(vars(table))

    if (source, target) in ALLOWED:
        assert table.check(source, target, "42") is target
    else:
        with pytest.raises(Contradiction, match=f"lamp 42 cannot go from {source} to {target}"):
            table.check(source, target, "42")
    assert vars(table) == as_data


def test_terminal_states_have_no_way_out() -> None:
    assert lamp().terminal() == {Lamp.BROKEN}
    assert lamp().targets(Lamp.ON) == {Lamp.OFF, Lamp.BROKEN}


def test_the_diagram_shows_start_moves_and_ends() -> None:
    assert lamp().mermaid().splitlines() == [
        "stateDiagram-v2",
        "    [*] --> OFF",
        "    OFF --> ON: switched on",
        "    ON --> OFF: switched off",
        "    ON --> BROKEN: burnt out, too old, too hot",
        "    BROKEN --> [*]",
    ]
