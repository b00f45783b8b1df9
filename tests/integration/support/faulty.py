"""A service's worker whose reactions fail on demand: `… faulty billing`.

`SONGHE_FAULTY_FILE` names a file with one id of an insured person per line, or `*` for everything;
`once:` before an id makes it fail one time only. The file is read for every batch, so that a test
mends the worker by emptying it.
"""

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.kernel.events import Message
from shared.runtime.database.unit_of_work import Unit
from shared.runtime.messaging import dispatch
from shared.runtime.messaging.consumer import Consumer, Reaction


class Faults:
    """Who fails; what is to fail once is forgotten when it has failed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._failed_once: set[str] = set()

    def wrap(self, reaction: Reaction) -> Reaction:
        async def faulty(unit: Unit, messages: Sequence[Message[Any]]) -> None:
            for message in messages:
                self._check(message.body.record_key)
            await reaction(unit, messages)

        return faulty

    def _check(self, person: str) -> None:
        wanted = self._file.read_text().split()
        if "*" in wanted or person in wanted:
            raise RuntimeError(f"planted fault for {person}")
        if f"once:{person}" in wanted and person not in self._failed_once:
            self._failed_once.add(person)
            raise RuntimeError(f"planted passing fault for {person}")


def main(service: str) -> None:
    faults = Faults(Path(os.environ["SONGHE_FAULTY_FILE"]))
    original = dispatch.Dispatch.__init__

    def with_faults(self: Any, database: Any, consumer: Consumer, **more: Any) -> None:
        reactions = {kind: faults.wrap(reaction) for kind, reaction in consumer.reactions.items()}
        faulty = Consumer(consumer.name, consumer.topics, reactions, consumer.hold_back)
        original(self, database, faulty, **more)

    dispatch.Dispatch.__init__ = with_faults  # type: ignore[method-assign]
    sys.argv = [f"services.{service}", "worker"]
    runpy.run_module(f"services.{service}", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
