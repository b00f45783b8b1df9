"""Workers that a test starts itself: one more member, or one that fails on demand."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.plan import is_http_ready
from devstack.stack import Stack
from testing.child import Child, free_port


@contextmanager
def one_more_worker(stack: Stack, service: str) -> Iterator[Child]:
    """A second worker of the service beside the stack's own; stopped by SIGTERM at the end."""
    with _running(stack, service, ["-m", f"services.{service}", "worker"], {}) as child:
        yield child


@contextmanager
def faulty_worker(stack: Stack, service: str, faults: Path) -> Iterator[None]:
    """Instead of the stack's own worker: fails for the persons listed in `faults`."""
    stack.stop(f"{service}-worker")
    try:
        more = {"SONGHE_FAULTY_FILE": str(faults)}
        with _running(stack, service, ["-m", "tests.integration.support.faulty", service], more):
            yield
    finally:
        stack.start(f"{service}-worker")


@contextmanager
def _running(
    stack: Stack, service: str, arguments: list[str], more: dict[str, str]
) -> Iterator[Child]:
    port = free_port()
    environment = stack.environment_for(service, "worker") | more
    environment["SONGHE_METRICS_PORT"] = str(port)
    child = Child.start(
        [sys.executable, *arguments],
        environment=environment,
        log=stack.state_dir / "logs" / f"{service}-extra-{os.getpid()}-{port}.log",
        is_ready=lambda: is_http_ready(f"http://127.0.0.1:{port}"),
    )
    try:
        child.wait_until_ready()
        yield child
    finally:
        child.stop()
