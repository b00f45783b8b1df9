"""A real sandbox in a process of its own, on a free port, for tests that speak HTTP to it."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx2

from sandbox.book import FILE_NAME
from testing.child import free_port

START_SECONDS = 20
STOP_SECONDS = 15
ROOT = Path(__file__).resolve().parents[2]

Json = dict[str, object]


@dataclass
class RunningSandbox:
    """The process and a client that speaks to it."""

    process: subprocess.Popen[str]
    client: httpx2.AsyncClient

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_SECONDS)


def settings(data_dir: Path, **changes: str) -> dict[str, str]:
    """The environment of a sandbox; None of the caller's own SONGHE_ settings leaks in."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SONGHE_")}
    return clean | {
        "SONGHE_SANDBOX_HTTP_PORT": str(free_port()),
        "SONGHE_SANDBOX_DATA_DIR": str(data_dir),
        "SONGHE_SANDBOX_SEED": "7",
        "SONGHE_SANDBOX_SMS_DELIVERY_DELAY_MS": "50",
        "SONGHE_LOG_LEVEL": "warning",
        **changes,
    }


@asynccontextmanager
async def running_sandbox(data_dir: Path, **changes: str) -> AsyncIterator[RunningSandbox]:
    """Starts it, waits until it is ready, and leaves no process behind."""
    environment = settings(data_dir, **changes)
    process = _start(environment)
    url = f"http://127.0.0.1:{environment['SONGHE_SANDBOX_HTTP_PORT']}"
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
            sandbox = RunningSandbox(process, client)
            await eventually(lambda: _ready(sandbox), seconds=START_SECONDS)
            yield sandbox
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_SECONDS)


def _start(environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sandbox"]
    return subprocess.Popen(command, env=environment, cwd=ROOT, text=True)


async def eventually(holds: Callable[[], Awaitable[bool]], *, seconds: float = 5) -> None:
    """Ask again until it holds; AssertionError at the deadline."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.01)


async def _ready(sandbox: RunningSandbox) -> bool:
    assert sandbox.process.poll() is None, "the sandbox ended while it started"
    try:
        return (await sandbox.client.get("/health/ready")).status_code == 200
    except httpx2.TransportError:
        return False


def make_past(folder: Path, column: str) -> None:
    """What the sandbox still waits for, as `column` of its trades says, is over now."""
    with closing(sqlite3.connect(folder / FILE_NAME, timeout=5)) as book, book:
        book.execute(f"UPDATE trade SET {column} = '2020-01-01T00:00:00.000Z'")


def a_charge(**changes: object) -> Json:
    return {
        "attempt_id": uuid4().hex,
        "amount_fen": 143_240,
        "currency": "CNY",
        "payer_reference": uuid4().hex,
        "description": "Pension contribution 2026-11",
        "expires_at": "2100-01-01T00:00:00Z",
        **changes,
    }


def a_message(**changes: object) -> Json:
    return {
        "reference": str(uuid4()),
        "phone": "+8613800138000",
        "template": "payment_settled",
        "variables": {"amount": "1,432.40", "period": "2026-11"},
        "text": "您的缴费已收到。",
        **changes,
    }


def a_fault(target: str, kind: str, **changes: object) -> Json:
    return {"target": target, "kind": kind, **changes}
