"""Throughput beside 10⁴, 10⁵ and 10⁶ settled orders, with a transaction idle all the time.

`python -m bench.growth --rate 1000` offers more than can be settled: what counts is how many
orders per second become complete. An idle transaction in every database keeps vacuum from
removing anything, as a forgotten session would.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import psycopg
from sqlalchemy.engine import make_url

from bench.history import fill
from bench.result import Machine, now, this_commit, this_machine, write_results
from bench.step import StepResult, Window, run_step
from devstack.plan import ROOT
from devstack.report import Report
from testing.stacks.core_stack import WORKERS, CoreStack, default_folder, stop_like_ctrl_c

ROWS = (10_000, 100_000, 1_000_000)
WINDOW = Window(5, 20)
DRAIN_SECONDS = 300.0


class GrowthStep(msgspec.Struct, frozen=True):
    """What was settled beside so many orders of the past."""

    history_orders: int
    step: StepResult


class GrowthResult(msgspec.Struct, frozen=True, kw_only=True):
    """Every number of one run, in ascending order of the past."""

    commit: str
    began_at: datetime
    machine: Machine
    steps: list[GrowthStep]


def run_growth(
    core: CoreStack, rate: float, rows: tuple[int, ...], report: Report
) -> list[GrowthStep]:
    """One step per size of history, in ascending order."""
    core.up_servers()
    steps: list[GrowthStep] = []
    filled = 0
    for size in rows:
        report.step("history", f"fills up to {size:,} orders of the past")
        fill(core.databases, filled + 1, size)
        filled = size
        for name in WORKERS:
            core.start(name)
        with _idle_transactions(core):
            step = run_step(core, rate, WINDOW, drain_seconds=DRAIN_SECONDS)
        report.step(f"{size:,}", f"settled {step.settled_rate:,.0f}/s of {rate:,.0f}/s")
        for name in WORKERS:
            core.stop(name)
        steps.append(GrowthStep(size, step))
    return steps


@contextmanager
def _idle_transactions(core: CoreStack) -> Iterator[None]:
    """A session in each database that has written something and then forgot to end."""
    with ExitStack() as stack:
        for url in core.databases.values():
            superuser = make_url(core.stack.superuser_url).set(database=make_url(url).database)
            connection = stack.enter_context(
                psycopg.connect(superuser.render_as_string(hide_password=False))
            )
            connection.execute("SET idle_in_transaction_session_timeout = 0")
            connection.execute("SELECT pg_current_xact_id()")
        yield
        # Their transactions end with the block.


def growth_table(result: GrowthResult) -> str:
    """What a reader sees, the loss beside what the plan asks for."""
    first = result.steps[0].step.settled_rate
    lines = [
        f"Commit {result.commit}, {result.began_at:%Y-%m-%d %H:%M} UTC; {result.machine}.",
        "Offered is more than can be settled; one idle transaction in every database all the time.",
        "Floor of the last loss: 40 %; goal: 15 %.",
        "",
        "| orders of the past | settled/s | loss | CPU-µs per order | stolen |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.history_orders:,} | {each.step.settled_rate:,.0f}"
        f" | {1 - each.step.settled_rate / first:.0%}"
        f" | {sum(each.step.cpu_us_per_order.values()):,.0f} | {each.step.stolen_share:.0%} |"
        for each in result.steps
    ]
    return "\n".join([*lines, ""])


def write(result: GrowthResult, folder: Path) -> None:
    """JSON and table."""
    told = growth_table(result)
    write_results(folder, "benchmark-growth", result, target="bench-growth", told=told)


def main() -> int:
    """Measure, print the table, and write it beside the benchmark's results."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--rate", type=float, default=1500.0)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--publish", action="store_true", help="into docs/, where README points")
    options = parser.parse_args()
    stop_like_ctrl_c()
    began_at = now()
    report = Report()
    core = CoreStack(default_folder("growth"), report=report)
    try:
        steps = run_growth(core, options.rate, tuple(options.rows), report)
    finally:
        core.down(delete=True)
    result = GrowthResult(
        commit=this_commit(), began_at=began_at, machine=this_machine(), steps=steps
    )
    write(result, ROOT / "docs" if options.publish else options.output)
    sys.stdout.write(f"\n{growth_table(result)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
