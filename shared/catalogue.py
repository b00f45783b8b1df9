"""Every service and the processes it runs: the one list that all others follow.

Stacks, keys, images, manifests, rules, tests and the Makefile are made from it or checked against
it. Whoever adds a process adds a line here and its `python -m services.<service> <kind>`.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A program that runs as long as its service. All serve /metrics and /health.

    `has_http`: it answers requests on a port of its own. `has_relay`: it sends the outbox.
    `has_database`: it reads or writes its service's. `image`: where it lives in containers.
    """

    service: str
    kind: str
    image: str
    has_http: bool = False
    has_relay: bool = False
    has_database: bool = True

    @property
    def name(self) -> str:
        """What it is called everywhere: `billing-worker`."""
        return f"{self.service}-{self.kind}"


def _usual(service: str, *, has_relay: bool) -> tuple[Process, Process]:
    return (
        Process(service=service, kind="api", image=service, has_http=True),
        Process(service=service, kind="worker", image=service, has_relay=has_relay),
    )


PROCESSES: tuple[Process, ...] = (
    *_usual("identity", has_relay=False),
    *_usual("billing", has_relay=True),
    *_usual("payment", has_relay=True),
    *_usual("notifier", has_relay=False),
    # In an image of its own: faust is for it alone.
    Process(service="notifier", kind="stream", image="stream", has_database=False),
)
# In the order in which they are set up; each has a database of its own.
SERVICES: tuple[str, ...] = tuple(dict.fromkeys(process.service for process in PROCESSES))
# Run beside the services, and know no database.
SANDBOX, ENTRY = "sandbox", "entry"
IMAGES: tuple[str, ...] = (
    *dict.fromkeys(process.image for process in PROCESSES),
    SANDBOX,
    ENTRY,
)


def names_of(kind: str | None = None) -> Iterator[str]:
    """The names of all processes, or of those of one kind."""
    return (process.name for process in PROCESSES if kind in (None, process.kind))
