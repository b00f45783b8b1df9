"""What a process says of itself while nothing that it needs was touched: no loop may fail then."""

import re
from collections.abc import Mapping
from pathlib import Path

from testing.checker import Kind, Violation

FAILURES = re.compile(
    r"due_loop_failed|dispatch_failed|whole_batch_failed|component_(?:failed|ended|cancelled)"
    r"|could not be recorded together|raised instead of answering"
)
# On a starved machine a statement may run into its own deadline; it is tried again.
DEADLINES = re.compile(r"TimeoutError|QueryCanceled|LockNotAvailable|statement timeout")
# Servers write what they like.
OURS = re.compile(r"-(?:worker|api)")
LINE_CHARS_MAX = 300


class OwnFaults:
    """Reads what was added to the logs since it was made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begun = _sizes(folder)

    def violations(self) -> list[Violation]:
        """One per line in which a process tells that a part of it failed."""
        return [
            Violation(Kind.LOOP_FAILED, name, line[:LINE_CHARS_MAX])
            for name in sorted(_sizes(self._folder))
            for line in self._added(name).splitlines()
            if FAILURES.search(line) and not DEADLINES.search(line)
        ]

    def _added(self, name: str) -> str:
        with (self._folder / name).open("rb") as log:
            log.seek(self._begun.get(name, 0))
            return log.read().decode(errors="replace")


def _sizes(folder: Path) -> Mapping[str, int]:
    logs = (log for log in folder.glob("*.log") if OURS.search(log.name))
    return {log.name: log.stat().st_size for log in logs}
