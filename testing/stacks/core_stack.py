"""A private stack in core mode: real PostgreSQL, Redis and Kafka, and the three workers.

    with CoreStack(folder) as core:            # up, and down with everything deleted
        core.start("payment-worker-2", environment={"SONGHE_X": "1"})   # one more member
        core.kill("payment-worker")            # SIGKILL
        core.start("payment-worker")
        core.stack.stop("kafka")               # the servers are an ordinary devstack
        Book.read(core.book_dir)               # what the outside world remembers

Blocking. Names are `<service>-worker`, with a number behind it for further members. What ended
by itself is found by `core.exit_code(name)`; every log is `core.log(name)`.
"""

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from devstack.plan import ROOT, is_http_ready
from devstack.problems import DevstackError
from devstack.processes import STACK_MARK
from devstack.report import Report
from devstack.stack import Stack
from testing.child import READY_SECONDS, Child, free_port
from testing.stacks.core_process import BOOK_DIR

SERVICES = ("billing", "payment", "notifier")
WORKERS = tuple(f"{service}-worker" for service in SERVICES)
# The world answers at once, so that many calls under way only mean larger sets.
CORE_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "payment": {"SONGHE_PAYMENT_CONCURRENT_CALLS": "500"},
    "notifier": {"SONGHE_NOTIFIER_CONCURRENT_CALLS": "250"},
}
# What a server for these databases would get. PostgreSQL's defaults are made for small machines: a
# run would measure the system's page cache, and a checkpoint every half a minute.
SERVER_SETTINGS: Mapping[str, str] = {
    "track_commit_timestamp": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
}


class CoreStack:
    """Starts, stops and kills; `settings` adds environment per service (`{"billing": {…}}`)."""

    def __init__(
        self,
        state_dir: Path,
        *,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        report: Report | None = None,
    ) -> None:
        given = settings or {}
        merged = {
            service: {**CORE_SETTINGS.get(service, {}), **given.get(service, {})}
            for service in {*CORE_SETTINGS, *given}
        }
        self.stack = Stack(state_dir, overrides=merged, report=report)
        self.book_dir = self.stack.state_dir / "book"
        self._children: dict[str, Child] = {}
        self._metrics: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.down(delete=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down(delete=True)

    def up(self) -> None:
        """Servers, tables, topics, and one worker per service. Raises DevstackError."""
        self.up_servers()
        for name in WORKERS:
            self.launch(name)
        for name in WORKERS:
            self.wait_until_ready(name)

    def up_servers(self) -> None:
        """Servers, tables and topics only; commit times are kept, to measure by them."""
        self.stack.up(only=["infra"])
        self._set_up_server()
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            list(pool.map(lambda service: self._run(service, "migrate"), SERVICES))
        self._run("billing", "topics")

    def down(self, *, delete: bool = False) -> None:
        """Stop the workers, then the servers; with `delete` remove every trace, the book too."""
        for name in list(self._children):
            self.stop(name)
        self.stack.down(delete=delete)
        if delete:
            shutil.rmtree(self.stack.state_dir, ignore_errors=True)

    def start(
        self,
        name: str,
        *,
        environment: Mapping[str, str] | None = None,
        argv: Sequence[str] | None = None,
    ) -> None:
        """Start a worker and wait until it is ready; no-op while it runs.

        `argv` replaces what Python is called with (`["-m", "testing.stacks.core_process", …]`).
        Raises DevstackError where it ends or is too slow.
        """
        self.launch(name, environment=environment, argv=argv)
        self.wait_until_ready(name)

    def launch(
        self,
        name: str,
        *,
        environment: Mapping[str, str] | None = None,
        argv: Sequence[str] | None = None,
    ) -> None:
        """Start a worker without waiting."""
        if self.is_running(name):
            return
        service = name.split("-")[0]
        port = free_port()
        settings = {
            **self.stack.environment_for(service, "worker"),
            "SONGHE_METRICS_PORT": str(port),
            BOOK_DIR: str(self.book_dir),
            STACK_MARK: str(self.stack.state_dir),
            **(environment or {}),
        }
        arguments = argv or ["-m", "testing.stacks.core_process", service, "worker"]
        self._start(name, arguments, settings, f"http://127.0.0.1:{port}")

    def _start(
        self, name: str, arguments: Sequence[str], settings: Mapping[str, str], metrics: str
    ) -> None:
        self._metrics[name] = metrics
        self._children[name] = Child.start(
            [sys.executable, *arguments],
            environment=settings,
            log=self.log(name),
            is_ready=lambda: is_http_ready(metrics),
        )

    def wait_until_ready(self, name: str, *, seconds: float = READY_SECONDS) -> None:
        """Until the worker answers ready; raises DevstackError where it ends or is too slow."""
        try:
            self._children[name].wait_until_ready(seconds)
        except DevstackError as error:
            raise DevstackError(f"{name} is not ready, see {self.log(name)}. {error}") from None

    def stop(self, name: str) -> bool:
        """SIGTERM and wait; False where it had to be killed."""
        return name not in self._children or self._children[name].stop()

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        self._children[name].kill()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Any signal, such as SIGSTOP."""
        self._children[name].signal(number)

    def exit_code(self, name: str) -> int | None:
        """None while it runs; -9 after SIGKILL."""
        return self._children[name].exit_code

    def is_running(self, name: str) -> bool:
        return name in self._children and self._children[name].is_running

    def running(self) -> list[str]:
        """The workers that run now."""
        return [name for name in self._children if self.is_running(name)]

    def pid(self, name: str) -> int:
        return self._children[name].pid

    def metrics(self, name: str) -> str:
        """Where the worker serves /metrics and /health."""
        return self._metrics[name]

    def log(self, name: str) -> Path:
        return self.stack.state_dir / "logs" / f"{name}.log"

    @property
    def databases(self) -> dict[str, str]:
        """Service → `postgresql://…` of its database, as its own role."""
        return {service: self.stack.databases[service] for service in SERVICES}

    @property
    def kafka(self) -> str:
        return self.stack.plan().kafka_bootstrap_servers

    def _run(self, service: str, command: str) -> None:
        done = self.stack.run(service, command)
        if done.returncode != 0:
            raise DevstackError(f"{service} {command} failed: {done.stderr.strip()[-500:]}")

    def _set_up_server(self) -> None:
        """What only a restart changes: commit times, and memory."""
        with psycopg.connect(self.stack.superuser_url, autocommit=True) as connection:
            if connection.execute("SHOW track_commit_timestamp").fetchone() == ("on",):
                return
            for name, value in SERVER_SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.stack.restart("postgres")


def stop_like_ctrl_c() -> None:
    """SIGTERM ends a run as Ctrl+C does: its private stack goes down with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def default_folder(purpose: str) -> Path:
    """A folder of this process's own, beside the developer's stack, that git ignores."""
    return ROOT / ".songhe" / f"core-{purpose}-{os.getpid()}"
