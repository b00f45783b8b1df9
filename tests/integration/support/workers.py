"""Workers that a test starts itself: one more member, or one that fails on demand."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.plan import ROOT
from devstack.stack import Stack

READY_SECONDS = 30.0
STOP_SECONDS = 20.0


@contextmanager
def one_more_worker(stack: Stack, service: str) -> Iterator[subprocess.Popen[bytes]]:
    """A second worker of the service beside the stack's own; stopped by SIGTERM at the end."""
    with _running(stack, service, ["-m", f"services.{service}", "worker"], {}) as process:
        yield process


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
) -> Iterator[subprocess.Popen[bytes]]:
    port = _free_port()
    environment = stack.environment_for(service, "worker") | more
    environment["SONGHE_METRICS_PORT"] = str(port)
    log = stack.state_dir / "logs" / f"{service}-extra-{os.getpid()}-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=environment, cwd=ROOT, stdout=output, stderr=output
        )
    try:
        _wait_until_ready(process, port, log)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"not ready in time: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
