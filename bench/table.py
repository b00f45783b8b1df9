"""The table that a reader sees: each goal of the plan beside what the run gave."""

from collections.abc import Mapping

from bench.result import LOOSE_P99_MS, STRICT_P99_MS, Result
from bench.step import StepResult


def table(result: Result) -> str:
    """Markdown, also good in a terminal."""
    parts = [_head(result), _goals(result), _steps(result), _cpu(result), _naive(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(result: Result) -> str:
    durable = result.durable
    settings = ", ".join(f"{name}={value}" for name, value in sorted(durable.items()))
    verdict = "valid" if result.is_valid else "VOID: " + "; ".join(result.violations)
    return "\n".join(
        [
            f"Commit {result.commit}, {result.began_at:%Y-%m-%d %H:%M} UTC,"
            f" {result.seconds / 60:.1f} minutes{' (quick)' if result.quick else ''}.",
            f"{result.machine}; everything on them, load generator too.",
            f"Durable: {settings}.",
            f"{result.orders_checked:,} orders judged: {verdict}.",
        ]
    )


def _goals(result: Result) -> str:
    if result.sustained is None:
        return "No rate was held with p99 below one second."
    sustained, gentle = result.sustained, result.at_70_percent
    tps = max(result.pgbench_tps)
    strict = f"{result.strict.settled_rate:,.0f}/s" if result.strict else "none"
    rows = [
        ("orders settled per second, p99 < 1 s", f"{sustained.settled_rate:,.0f}", "", ""),
        (f"orders settled per second, p99 < {STRICT_P99_MS:.0f} ms", strict, "", ""),
        ("pgbench -N, transactions per second", f"{tps:,.0f}", "", ""),
        ("naive saga, orders settled per second", f"{result.naive_rate:,.0f}", "", ""),
        ("÷ pgbench", f"{sustained.settled_rate / tps:.2f}", "0.3", "0.6"),
        ("÷ naive", f"{sustained.settled_rate / result.naive_rate:.1f}", "8", "20"),
    ]
    if gentle is not None:
        rows += [
            ("p50 at 70 %", f"{gentle.latency_ms.p50:.0f} ms", "–", "60 ms"),
            ("p99 at 70 %", f"{gentle.latency_ms.p99:.0f} ms", "500 ms", "250 ms"),
            (
                "relay, commit to ack, p99 at 70 %",
                f"{gentle.relay_ms.p99:.0f} ms",
                "200 ms",
                "50 ms",
            ),
        ]
    lines = ["| figure | this run | floor | goal |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _steps(result: Result) -> str:
    lines = [
        "| offered/s | settled/s | p50 ms | p95 ms | p99 ms | max ms | relay p99 ms | stolen"
        " | core, M steps/s | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for step in result.steps:
        latency = step.latency_ms
        lines.append(
            f"| {step.offered_rate:,.0f} | {step.settled_rate:,.0f} | {latency.p50:,.0f}"
            f" | {latency.p95:,.0f} | {latency.p99:,.0f} | {latency.max:,.0f}"
            f" | {step.relay_ms.p99:,.0f} | {step.stolen_share:.0%} | {step.core_speed:.1f}"
            f" | {_verdict(step)} |"
        )
    return "\n".join(lines)


def _verdict(step: StepResult) -> str:
    if step.latency_ms.p99 < STRICT_P99_MS:
        return f"p99 < {STRICT_P99_MS:.0f} ms"
    return "p99 < 1 s" if step.latency_ms.p99 < LOOSE_P99_MS else "missed"


def _cpu(result: Result) -> str:
    step = result.sustained
    if step is None:
        return ""
    return cpu_table("order", step.cpu_us_per_order)


def cpu_table(unit: str, used_us: Mapping[str, float]) -> str:
    """What each process used for one `unit`, the largest first."""
    total = sum(used_us.values())
    lines = [f"| CPU per {unit} | µs | share |", "|---|---|---|"]
    lines += [
        f"| {name} | {used:,.0f} | {used / total:.0%} |"
        for name, used in sorted(used_us.items(), key=lambda item: -item[1])
    ]
    return "\n".join([*lines, f"| all | {total:,.0f} | 100% |"])


def _naive(result: Result) -> str:
    lines = ["| naive saga | offered/s | settled/s |", "|---|---|---|"]
    lines += [
        f"| {step.lanes} at a time | {step.offered_rate:,.0f} | {step.settled_rate:,.0f} |"
        for step in result.naive
    ]
    return "\n".join(lines)
