"""One run of mode *callback*: payment's API alone, a sweep, and 70 % of the best rate."""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from bench.callback.books import require_conserved
from bench.callback.result import (
    LOOSE_P99_MS,
    STRICT_P99_MS,
    CallbackResult,
    Verification,
)
from bench.callback.step import CallbackStep, run_step
from bench.result import now, this_commit, this_machine
from bench.step import Window
from bench.sweep import confirm, sweep
from bench.validity import require_durable
from bench.verification import measure
from devstack.report import Report
from services.payment.tests.fuzz.campaign import CHANNELS, build_target
from testing.stacks.core_stack import CoreStack

API = "payment-api"
METRICS_PORT = "SONGHE_METRICS_PORT"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackProtocol:
    """How long each part takes."""

    first_rate: float
    step: Window
    steps_max: int
    long_step: Window


FULL = CallbackProtocol(first_rate=300.0, step=Window(3, 8), steps_max=8, long_step=Window(3, 30))
QUICK = CallbackProtocol(first_rate=300.0, step=Window(2, 4), steps_max=4, long_step=Window(2, 8))


class CallbackBench:
    """One run over one private stack, of which payment's API, PostgreSQL and Redis run."""

    def __init__(self, core: CoreStack, protocol: CallbackProtocol, report: Report) -> None:
        self._core = core
        self._protocol = protocol
        self._report = report
        self._run: list[CallbackStep] = []

    def run(self, *, quick: bool) -> CallbackResult:
        """Everything, in the order of the protocol. Raises Void."""
        began_at, began, load = now(), time.monotonic(), os.getloadavg()[0]
        core, protocol = self._core, self._protocol
        verification = verify_alone()
        core.up_servers()
        # Nobody relays here: what the callbacks tell stays in the outbox and is counted there.
        core.stack.stop("kafka")
        start_api(core)
        durable = require_durable(core)
        found = sweep(
            lambda rate: self._step(rate, protocol.step),
            first_rate=protocol.first_rate,
            p99_ms=LOOSE_P99_MS,
            strict_p99_ms=STRICT_P99_MS,
            steps_max=protocol.steps_max,
        )
        sustained, gentle = confirm(
            found, lambda rate: self._step(rate, protocol.long_step), p99_ms=LOOSE_P99_MS
        )
        callbacks = sum(step.callbacks for step in self._run)
        require_conserved(
            core.databases["payment"],
            callbacks=callbacks,
            amount_fen=sum(step.amount_fen for step in self._run),
        )
        return CallbackResult(
            commit=this_commit(),
            began_at=began_at,
            seconds=time.monotonic() - began,
            quick=quick,
            machine=this_machine(),
            load_average=load,
            durable={name: value for name, value in durable.items() if name != "acks"},
            verification=verification,
            steps=found.steps,
            sustained=sustained,
            at_70_percent=gentle,
            callbacks_checked=callbacks,
        )

    def _step(self, rate: float, window: Window) -> CallbackStep:
        step = run_step(self._core, rate, window)
        self._run.append(step)
        latency = step.latency_ms
        used = ", ".join(f"{name} {us:,.0f}" for name, us in step.cpu_us_per_callback.items())
        self._report.step(
            f"{rate:,.0f}/s",
            f"settled {step.settled_rate:,.0f}/s, p50 {latency.p50:,.0f} ms,"
            f" p99 {latency.p99:,.0f} ms; CPU µs each: {used}",
        )
        return step


def start_api(core: CoreStack) -> None:
    """Payment's API as the product starts it, beside what core mode knows of its processes."""
    environment = core.stack.environment_for("payment", "api")
    del environment[METRICS_PORT]
    core.start(
        API, environment=environment, argv=["-m", "testing.stacks.core_process", "payment", "api"]
    )


def verify_alone() -> list[Verification]:
    """How long signature, freshness, decryption, addressee and shape take."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in CHANNELS:
            taken = measure(build_target(name, Path(folder)))
            p99 = quantiles(taken, n=100)[98]
            found.append(Verification(channel=name, median_us=median(taken), p99_us=p99))
    return found
