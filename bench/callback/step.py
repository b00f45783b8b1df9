"""One step of the sweep: callbacks are sent at a rate, and what became of them is in the rows.

A callback is complete when it was answered with the channel's success *and* its order is settled
in the database; latency counts from when it was due.
"""

import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from bench import cpu
from bench.callback.books import require_settled, settled_at
from bench.callback.generator import CallbackHistory, Told, read_history
from bench.callback.sender import ANSWER_SECONDS
from bench.step import Latency, Void, Window, latency_ms
from devstack.plan import ROOT
from testing.stacks.core_stack import CoreStack

END_SECONDS = 60.0


class CallbackStep(msgspec.Struct, frozen=True, kw_only=True):
    """What one rate gave; latencies are of the callbacks that were due in the steady window.

    `settled_rate` is how many became complete per second inside the window.
    """

    offered_rate: float
    steady_seconds: float
    callbacks: int
    amount_fen: int
    settled_rate: float
    latency_ms: Latency
    cpu_us_per_callback: dict[str, float]
    generator_late_ms: float


def run_step(core: CoreStack, rate: float, window: Window) -> CallbackStep:
    """Sign, send and measure. Raises Void where a callback did not settle its order."""
    file = core.stack.state_dir / "callbacks.json"
    with subprocess.Popen(
        _command(core, rate, window, file), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            before = _send(core, process, window)
        finally:
            process.kill()
    used = cpu.between(before, cpu.cpu_seconds(core))
    history = read_history(file)
    used["generator"] = history.cpu_seconds
    database_url = core.databases["payment"]
    require_settled(database_url, history.told)
    return measured(history, rate, window, used, settled_at(database_url, history.told))


def measured(
    history: CallbackHistory,
    rate: float,
    window: Window,
    used_seconds: dict[str, float],
    settled: dict[UUID, datetime],
) -> CallbackStep:
    """The figures of a step whose callbacks are all settled."""
    begin = history.began_at + timedelta(seconds=window.warm_up_seconds)
    end = begin + timedelta(seconds=window.steady_seconds)
    completed = [(one.due_at, _completed_at(one, settled)) for one in history.told]
    inside = sum(begin <= at < end for _, at in completed)
    seconds = [(at - due_at).total_seconds() for due_at, at in completed if begin <= due_at < end]
    count = len(history.told)
    return CallbackStep(
        offered_rate=rate,
        steady_seconds=window.steady_seconds,
        callbacks=count,
        amount_fen=sum(one.amount_fen for one in history.told),
        settled_rate=inside / window.steady_seconds,
        latency_ms=latency_ms(seconds),
        cpu_us_per_callback={
            name: seconds * 1e6 / count for name, seconds in sorted(used_seconds.items())
        },
        generator_late_ms=history.late_seconds_max * 1e3,
    )


def _completed_at(one: Told, settled: dict[UUID, datetime]) -> datetime:
    assert one.answered_at is not None
    return max(one.answered_at, settled[one.attempt_id])


def _send(core: CoreStack, process: subprocess.Popen[bytes], window: Window) -> dict[str, float]:
    """Wait for the signatures, then let it send; returns what was used before that."""
    assert process.stdout is not None
    assert process.stdin is not None
    if process.stdout.readline() != b"signed\n":
        raise Void("the generator could not sign")
    before = cpu.cpu_seconds(core)
    process.stdin.write(b"go\n")
    process.stdin.flush()
    if process.wait(window.seconds + ANSWER_SECONDS + END_SECONDS) != 0:
        raise Void("the generator failed")
    return before


def _command(core: CoreStack, rate: float, window: Window, history: Path) -> Sequence[str]:
    keys = core.stack.plan().keys_dir / "channels" / "sandbox"
    command = [sys.executable, "-m", "bench.callback.generator"]
    command += ["--database-url", core.databases["payment"], "--url", core.stack.urls["payment"]]
    command += ["--keys", str(keys), "--history", str(history)]
    return [*command, "--rate", str(rate), "--seconds", str(window.seconds)]
