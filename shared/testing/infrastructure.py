"""Real PostgreSQL, Redis and Kafka for tests: a devstack of the session's own, or given servers.

`SONGHE_TEST_INFRA` chooses: `devstack` (default) or `external` with `SONGHE_TEST_POSTGRES_URL`
(a superuser's `postgresql://…`), `SONGHE_TEST_REDIS_URL` and `SONGHE_TEST_KAFKA` (host:port).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from devstack.stack import Stack, default_state_dir

CHOICE = "SONGHE_TEST_INFRA"
GIVEN = ("SONGHE_TEST_POSTGRES_URL", "SONGHE_TEST_REDIS_URL", "SONGHE_TEST_KAFKA")
FOLDER_PREFIX = "test-"


@dataclass(frozen=True, kw_only=True)
class Infrastructure:
    """Where the servers are; the PostgreSQL user may create databases."""

    postgres_url: str
    redis_url: str
    kafka: str


class InfrastructureError(Exception):
    """The settings for the test infrastructure are wrong; one sentence."""


def choice() -> str:
    """`devstack` or `external`. Raises InfrastructureError for anything else."""
    chosen = os.environ.get(CHOICE) or "devstack"
    if chosen not in ("devstack", "external"):
        raise InfrastructureError(f"{CHOICE} is {chosen!r}; it may be devstack or external.")
    return chosen


def description() -> str:
    """Which infrastructure tests get and why, for the first lines of a test run."""
    reason = f"{CHOICE} says so" if os.environ.get(CHOICE) else f"{CHOICE} is not set"
    if choice() == "external":
        return f"servers that already run, because {reason}"
    return f"a devstack of this session's own, because {reason}"


@contextmanager
def running_infrastructure() -> Iterator[Infrastructure]:
    """The infrastructure of one test session; what it started, it stops and deletes."""
    if choice() == "external":
        yield _given()
        return
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
