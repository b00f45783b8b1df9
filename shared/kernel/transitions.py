"""State machines as data: every allowed move is listed with the word for its cause."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from shared.kernel.errors import Contradiction

State = TypeVar("State", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Move(Generic[State]):
    """One allowed move and what causes it, in the words of the documentation."""

    source: State
    target: State
    cause: str


class Transitions(Generic[State]):
    """The table of one machine: what is not listed is a contradiction."""

    def __init__(
        self, machine: str, states: type[State], initial: State, moves: Iterable[Move[State]]
    ) -> None:
        self.machine = machine
        self.states = states
        self.initial = initial
        self.moves = tuple(moves)
        self._allowed = {(move.source, move.target) for move in self.moves}

    def allows(self, source: State, target: State) -> bool:
        return (source, target) in self._allowed

    def check(self, source: State, target: State, subject: object) -> State:
        """Return `target`; raise Contradiction where the move is not in the table."""
        if not self.allows(source, target):
            raise Contradiction(f"{self.machine} {subject} cannot go from {source} to {target}")
        return target

    def targets(self, source: State) -> set[State]:
        return {target for origin, target in self._allowed if origin is source}

    def terminal(self) -> set[State]:
        return {state for state in self.states if not self.targets(state)}

    def mermaid(self) -> str:
        """The table as a Mermaid state diagram; the documentation is drawn from it."""
        lines = ["stateDiagram-v2", f"    [*] --> {self.initial.name}"]
        lines += [f"    {m.source.name} --> {m.target.name}: {_label(m.cause)}" for m in self.moves]
        lines += [f"    {state.name} --> [*]" for state in self.states if state in self.terminal()]
        return "\n".join(lines)


def _label(cause: str) -> str:
    # Mermaid ends a label at the first of these two
    return cause.replace(":", ",").replace(";", ",")
