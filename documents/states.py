"""The state machines of all services, found by importing every `domain` module."""

import importlib
import pkgutil
from enum import StrEnum
from pathlib import Path
from typing import Any

from documents.events import event_table
from documents.markers import replace_between, table
from documents.services import service_names
from shared.kernel.transitions import Transitions

SAGA = Path("docs/saga.md")


def machines() -> dict[str, Transitions[Any]]:
    """`service/machine` → its table; raises ValueError where two share one name."""
    found: dict[str, Transitions[Any]] = {}
    for service in service_names():
        for module in _domain_modules(service):
            for value in vars(module).values():
                if not isinstance(value, Transitions):
                    continue
                name = f"{service}/{value.machine}"
                if found.setdefault(name, value) is not value:
                    raise ValueError(f"two state tables are called {name}")
    return dict(sorted(found.items()))


def documents(root: Path) -> dict[Path, str]:
    """The saga's page with its generated passages."""
    text = (root / SAGA).read_text()
    text = replace_between(text, "event table", event_table())
    return {SAGA: replace_between(text, "state tables", _passage())}


def _passage() -> str:
    return "\n\n".join(_chapter(name, machine) for name, machine in machines().items())


def _chapter(name: str, machine: Transitions[Any]) -> str:
    service, _, _ = name.partition("/")
    title = machine.machine.replace("_", " ").capitalize()
    rows = [(_state(m.source), _state(m.target), m.cause) for m in machine.moves]
    ends = ", ".join(_state(state) for state in machine.states if state in machine.terminal())
    return "\n\n".join(
        [
            f"### {title} ({service})",
            f"```mermaid\n{machine.mermaid()}\n```",
            table(("from", "to", "because"), rows),
            f"Begins as {_state(machine.initial)}; ends as {ends or 'none: no state is final'}.",
        ]
    )


def _state(state: StrEnum) -> str:
    return f"`{state.name}`"


def _domain_modules(service: str) -> list[Any]:
    package = importlib.import_module(f"services.{service}.domain")
    names = [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [importlib.import_module(name) for name in names]
