"""One step of the sweep: a rate is offered, and what became of its orders is read from the rows.

An order is complete when billing has committed PAID and the notifier has committed its record;
both times are PostgreSQL's own commit times. Latency counts from the arrival, so that an order
which waited in the generator is not forgotten.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg
from msgspec.structs import replace

from bench import cpu, relaying
from bench.drain import wait_until_drained
from bench.yardstick import core_speed
from devstack.plan import ROOT
from testing.stacks.core_stack import CoreStack
from testing.stacks.generator import History, read_history

PAID = """
    SELECT request.payment_order_id, pg_xact_commit_timestamp(contribution.xmin)
    FROM payment_request AS request JOIN contribution USING (payment_order_id)
    WHERE request.created_at >= %s AND contribution.status = 'PAID'
"""
RECORDED = """
    SELECT payment_order_id, pg_xact_commit_timestamp(xmin) FROM notification
    WHERE template = 'payment_settled' AND channel = 'inbox' AND occurred_at >= %s
"""
END_SECONDS = 60.0


class Void(Exception):
    """A run that must not be counted; says why."""


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one rate gave; latencies are of the orders that arrived in the steady window.

    `settled_rate` is how many orders per second became complete inside the window;
    `stolen_share` is what the host took of the cores meanwhile; `core_speed` is how fast one of
    them ran Python just before, in million steps per second.
    """

    offered_rate: float
    steady_seconds: float
    orders: int
    settled_rate: float
    latency_ms: Latency
    relay_ms: Latency
    cpu_us_per_order: dict[str, float]
    generator_late_ms: float
    drain_seconds: float
    stolen_share: float = 0.0
    core_speed: float = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """How long a rate is offered: the warm-up is not counted."""

    warm_up_seconds: float
    steady_seconds: float

    @property
    def seconds(self) -> float:
        return self.warm_up_seconds + self.steady_seconds


def run_step(core: CoreStack, rate: float, window: Window, *, drain_seconds: float) -> StepResult:
    """Offer the rate, drain, and measure. Raises NotDrained, or Void where an order is missing."""
    file = core.stack.state_dir / "history.json"
    with generating(core, rate, window, file) as generator:
        # The assessments are history by now; they must not be part of the load.
        wait_until_drained(core.databases, core.kafka, within_seconds=drain_seconds)
        speed = core_speed()
        before, theft = cpu.cpu_seconds(core), cpu.Theft()
        relayed = relaying.read_counts(core)
        assessing = cpu.of_process(generator.pid)
        generator.start()
        generator.wait()
    drained = wait_until_drained(core.databases, core.kafka, within_seconds=drain_seconds)
    used, stolen = cpu.between(before, cpu.cpu_seconds(core)), theft.share()
    history = read_history(file)
    used["generator"] = history.cpu_seconds - assessing
    relay_ms = _relay_ms(relaying.read_counts(core) - relayed)
    measured = _measure(core, rate, window, history, used, drained, relay_ms)
    return replace(measured, stolen_share=stolen, core_speed=speed)


def _measure(
    core: CoreStack,
    rate: float,
    window: Window,
    history: History,
    used: dict[str, float],
    drained: float,
    relay_ms: Latency,
) -> StepResult:
    completed = completions(core, history)
    begin = history.began_at + timedelta(seconds=window.warm_up_seconds)
    end = begin + timedelta(seconds=window.steady_seconds)
    inside = sum(begin <= at < end for at in completed.values())
    latencies = [
        (completed[order.payment_order_id] - order.arrived_at).total_seconds()
        for order in history.acknowledged
        if begin <= order.arrived_at < end
    ]
    return StepResult(
        offered_rate=rate,
        steady_seconds=window.steady_seconds,
        orders=len(history.acknowledged),
        settled_rate=inside / window.steady_seconds,
        latency_ms=latency_ms(latencies),
        relay_ms=relay_ms,
        cpu_us_per_order={
            name: seconds * 1e6 / len(history.acknowledged)
            for name, seconds in sorted(used.items())
        },
        generator_late_ms=history.late_seconds_max * 1e3,
        drain_seconds=drained,
    )


def completions(core: CoreStack, history: History) -> dict[UUID, datetime]:
    """When each order was complete. Raises Void unless every requested order is."""
    paid = times(core.databases["billing"], PAID, history.began_at)
    recorded = times(core.databases["notifier"], RECORDED, history.began_at)
    missing = sum(
        order.payment_order_id not in paid or order.payment_order_id not in recorded
        for order in history.acknowledged
    )
    if missing or history.doubtful:
        raise Void(f"{missing} orders are not complete, {len(history.doubtful)} are doubtful")
    return {
        order.payment_order_id: max(paid[order.payment_order_id], recorded[order.payment_order_id])
        for order in history.acknowledged
    }


def latency_ms(seconds: Sequence[float]) -> Latency:
    """Percentiles by nearest rank. Raises Void for none."""
    if not seconds:
        raise Void("nothing arrived in the steady window")
    ordered = sorted(seconds)
    p50, p95, p99 = (
        ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3
        for share in (0.5, 0.95, 0.99)
    )
    return Latency(p50=p50, p95=p95, p99=p99, max=ordered[-1] * 1e3)


def _relay_ms(sent: Counter[float]) -> Latency:
    """Of every event of the step, the warm-up's too: the relay counts them in buckets."""
    p50, p95, p99, most = (relaying.quantile(sent, share) * 1e3 for share in (0.5, 0.95, 0.99, 1))
    return Latency(p50=p50, p95=p95, p99=p99, max=most)


def times(url: str, statement: str, since: datetime) -> dict[UUID, datetime]:
    """Order → when the statement's row of it was committed."""
    with psycopg.connect(url) as connection:
        return dict(connection.execute(statement, [since]).fetchall())


@dataclass(frozen=True, slots=True)
class Generating:
    """A generator in a process of its own that has assessed what it will request."""

    process: subprocess.Popen[bytes]
    seconds: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def wait(self) -> None:
        """Until everything is requested. Raises Void where the generator failed."""
        if self.process.wait(self.seconds + END_SECONDS) != 0:
            raise Void("the generator failed")


@contextmanager
def generating(core: CoreStack, rate: float, window: Window, history: Path) -> Iterator[Generating]:
    """Assess contributions and wait for `start`; the history is written at the end."""
    command = [sys.executable, "-m", "testing.stacks.generator", "--wait"]
    command += ["--database-url", core.databases["billing"], "--history", str(history)]
    command += ["--rate", str(rate), "--seconds", str(window.seconds)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield Generating(process, window.seconds)
        finally:
            process.kill()
