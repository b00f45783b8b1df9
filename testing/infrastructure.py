"""Real PostgreSQL, Redis and Kafka for tests: containers, a devstack, or given servers.

`SONGHE_TEST_INFRA` chooses: `containers`, `devstack`, or `external` with
`SONGHE_TEST_POSTGRES_URL` (a superuser's `postgresql://…`), `SONGHE_TEST_REDIS_URL` and
`SONGHE_TEST_KAFKA` (host:port). Unset: containers where an engine has their images.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from devstack.stack import Stack, default_state_dir
from testing import containers
from testing.engine import Engine, NoEngine, find_engine
from testing.servers import Infrastructure, InfrastructureError

CHOICE = "SONGHE_TEST_INFRA"
KINDS = ("containers", "devstack", "external")
GIVEN = ("SONGHE_TEST_POSTGRES_URL", "SONGHE_TEST_REDIS_URL", "SONGHE_TEST_KAFKA")
FOLDER_PREFIX = "test-"


@dataclass(frozen=True)
class Decision:
    """Which of KINDS a session takes; `reason` fits behind `because`."""

    kind: str
    reason: str

    def __str__(self) -> str:
        what = {
            "containers": "containers",
            "devstack": "a devstack of this session's own",
            "external": "servers that already run",
        }
        return f"{what[self.kind]}, because {self.reason}"


def decide(
    environment: Mapping[str, str] = os.environ,
    *,
    images: Sequence[str],
    engine: Callable[[], Engine] = find_engine,
) -> Decision:
    """What the setting says, else what is possible here. Raises InfrastructureError.

    Nothing is pulled: containers need all of `images` to be here already.
    """
    wanted = environment.get(CHOICE) or None
    if wanted not in (None, *KINDS):
        raise InfrastructureError(f"{CHOICE} is {wanted!r}; it may be {_or(KINDS)}.")
    if wanted in ("devstack", "external"):
        return Decision(wanted, f"{CHOICE} says so")
    try:
        missing = engine().missing(images)
    except NoEngine as error:
        if wanted:
            raise InfrastructureError(f"{CHOICE}=containers, but {error}.") from None
        return Decision("devstack", str(error))
    if missing and wanted:
        commands = " && ".join(f"docker pull {image}" for image in missing)
        raise InfrastructureError(
            f"{CHOICE}=containers, but the engine has no {_or(missing)}: run `{commands}`."
        )
    if missing:
        return Decision("devstack", f"the engine has no {_or(missing)}")
    has = f"a Docker engine answers and has {', '.join(images)}"
    return Decision("containers", f"{CHOICE} says so" if wanted else has)


def _or(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else words[0]


@contextmanager
def running_infrastructure(decision: Decision) -> Iterator[Infrastructure]:
    """The infrastructure of one test session; what it started, it stops and deletes."""
    if decision.kind == "external":
        yield _given()
    elif decision.kind == "containers":
        with containers.running_containers() as running:
            yield running
    else:
        with _running_devstack() as running:
            yield running


@contextmanager
def _running_devstack() -> Iterator[Infrastructure]:
    remove_orphans()
    stack = Stack(_folder() / f"{FOLDER_PREFIX}{os.getpid()}")
    try:
        stack.up(only=["infra"])
        yield Infrastructure(
            postgres_url=stack.superuser_url,
            redis_url=stack.plan().redis_url,
            kafka=stack.plan().kafka_bootstrap_servers,
        )
    finally:
        stack.down(delete=True)


def _given() -> Infrastructure:
    values = [os.environ.get(name, "") for name in GIVEN]
    missing = [name for name, value in zip(GIVEN, values, strict=True) if not value]
    if missing:
        raise InfrastructureError(f"{CHOICE}=external also needs {', '.join(missing)}.")
    return Infrastructure(postgres_url=values[0], redis_url=values[1], kafka=values[2])


def _folder() -> Path:
    # Beside the developer's own stack, in the folder that git ignores
    return default_state_dir()


def remove_orphans() -> None:
    """A session that was killed could not stop its servers: the next one does."""
    for folder in _folder().glob(f"{FOLDER_PREFIX}*"):
        owner = folder.name.removeprefix(FOLDER_PREFIX)
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            Stack(folder).down(delete=True)
