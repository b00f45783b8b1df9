"""What one run of mode *callback* found, and the table that a reader sees."""

from datetime import datetime

import msgspec

from bench.callback.step import CallbackStep
from bench.result import Machine
from bench.table import cpu_table

# A callback later than this is a missed one; at 70 % of the best rate the plan wants 100 ms.
LOOSE_P99_MS = 1000.0
STRICT_P99_MS = 100.0
RATE_GOAL = 500
VERIFICATION_GOAL_US = 150


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Of one channel's callbacks, alone: no HTTP, no database; microseconds."""

    channel: str
    median_us: float
    p99_us: float


class CallbackResult(msgspec.Struct, frozen=True, kw_only=True):
    """Every number of one run. `load_average` is of the minute before it began."""

    commit: str
    began_at: datetime
    seconds: float
    quick: bool
    machine: Machine
    load_average: float
    durable: dict[str, str]
    verification: list[Verification]
    steps: list[CallbackStep]
    sustained: CallbackStep | None
    at_70_percent: CallbackStep | None
    callbacks_checked: int


def table(result: CallbackResult) -> str:
    """Markdown, also good in a terminal."""
    parts = [_head(result), _goals(result), _steps(result), _cpu(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(result: CallbackResult) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in sorted(result.durable.items()))
    return "\n".join(
        [
            f"Commit {result.commit}, {result.began_at:%Y-%m-%d %H:%M} UTC,"
            f" {result.seconds / 60:.1f} minutes{' (quick)' if result.quick else ''}.",
            f"{result.machine}; everything on them, load generator too.",
            f"Load average before the run: {result.load_average:.1f}.",
            f"Durable: {settings}.",
            f"{result.callbacks_checked:,} callbacks judged: valid, each settled its one order.",
        ]
    )


def _goals(result: CallbackResult) -> str:
    rows = []
    if result.sustained is None:
        rows.append(("callbacks settled per second", "no rate was held", f"≥ {RATE_GOAL}"))
    else:
        rate = f"{result.sustained.settled_rate:,.0f}"
        rows.append(("callbacks settled per second, p99 < 1 s", rate, f"≥ {RATE_GOAL}"))
    if result.at_70_percent is not None:
        latency = result.at_70_percent.latency_ms
        rows.append(("p50 at 70 %", f"{latency.p50:.0f} ms", "–"))
        rows.append(("p99 at 70 %", f"{latency.p99:.0f} ms", f"≤ {STRICT_P99_MS:.0f} ms"))
    for one in result.verification:
        told = f"{one.median_us:.0f} µs (p99 {one.p99_us:,.0f})"
        rows.append(
            (f"verification alone, {one.channel}, median", told, f"≤ {VERIFICATION_GOAL_US} µs")
        )
    lines = ["| figure | this run | goal |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _steps(result: CallbackResult) -> str:
    lines = [
        "| offered/s | settled/s | p50 ms | p95 ms | p99 ms | max ms | generator late ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for step in result.steps:
        latency = step.latency_ms
        lines.append(
            f"| {step.offered_rate:,.0f} | {step.settled_rate:,.0f} | {latency.p50:,.0f}"
            f" | {latency.p95:,.0f} | {latency.p99:,.0f} | {latency.max:,.0f}"
            f" | {step.generator_late_ms:,.0f} |"
        )
    return "\n".join(lines)


def _cpu(result: CallbackResult) -> str:
    step = result.sustained
    if step is None:
        return ""
    return cpu_table("callback", step.cpu_us_per_callback)
