"""The benchmark: `python -m bench [mode] [--quick]`; `make bench` runs mode *core*."""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import pgbench, starts
from bench.callback import mode as callback
from bench.callback.result import CallbackResult
from bench.callback.result import table as callback_table
from bench.drain import NotDrained
from bench.judge import judge
from bench.peers.run_naive import naive_steps
from bench.picture import latency_picture
from bench.result import (
    LOOSE_P99_MS,
    STRICT_P99_MS,
    Result,
    now,
    this_commit,
    this_machine,
    write_results,
)
from bench.starts import StartsResult
from bench.starts import table as starts_table
from bench.step import StepResult, Void, Window, run_step
from bench.sweep import confirm, sweep
from bench.table import table
from bench.validity import require_durable
from devstack.plan import ROOT
from devstack.problems import DevstackError
from devstack.report import Report
from testing.stacks.core_process import PROFILE_DIR
from testing.stacks.core_stack import (
    SERVICES,
    WORKERS,
    CoreStack,
    default_folder,
    stop_like_ctrl_c,
)
from testing.stacks.sampler import profile_table

# A rate far above the limit leaves a long queue; it is no fault.
DRAIN_SECONDS = 300.0
PICTURE = "pictures/benchmark-latency.svg"
EXIT_VOID = 1
EXIT_USE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How long each part takes."""

    first_rate: float
    step: Window
    steps_max: int
    long_step: Window
    naive: Window
    naive_steps_max: int
    pgbench_seconds: int


FULL = Protocol(
    first_rate=300.0,
    step=Window(5, 12),
    steps_max=11,
    long_step=Window(5, 40),
    naive=Window(4, 10),
    naive_steps_max=6,
    pgbench_seconds=30,
)
QUICK = Protocol(
    first_rate=400.0,
    step=Window(3, 6),
    steps_max=5,
    long_step=Window(3, 8),
    naive=Window(3, 6),
    naive_steps_max=2,
    pgbench_seconds=10,
)


class Bench:
    """One run over one private stack."""

    def __init__(self, core: CoreStack, protocol: Protocol, report: Report) -> None:
        self._core = core
        self._protocol = protocol
        self._report = report
        self._orders: list[StepResult] = []

    def run(self, *, quick: bool) -> Result:
        """Everything, in the order of the protocol. Raises Void."""
        began_at, began = now(), time.monotonic()
        core, protocol = self._core, self._protocol
        core.up()
        durable = require_durable(core)
        self._report.step("pgbench", f"fills scale {pgbench.SCALE}")
        pgbench.prepare(core.stack.superuser_url)
        tps = [self._pgbench()]
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
        tps.append(self._pgbench())
        violations = judge(core, self._report)
        for name in WORKERS:
            core.stop(name)
        naive = naive_steps(core, protocol.naive, steps_max=protocol.naive_steps_max)
        for each in naive:
            self._report.step("naive", f"{each.lanes} at a time: {each.settled_rate:,.0f}/s")
        return Result(
            commit=this_commit(),
            began_at=began_at,
            seconds=time.monotonic() - began,
            quick=quick,
            machine=this_machine(),
            durable=durable,
            pgbench_tps=tps,
            steps=found.steps,
            sustained=sustained,
            strict=found.best(STRICT_P99_MS),
            at_70_percent=gentle,
            naive=naive,
            orders_checked=sum(step.orders for step in self._orders),
            violations=violations,
        )

    def _pgbench(self) -> float:
        tps = pgbench.transactions_per_second(
            self._core.stack.superuser_url, seconds=self._protocol.pgbench_seconds
        )
        self._report.step("pgbench", f"{tps:,.0f} transactions/s")
        return tps

    def _step(self, rate: float, window: Window) -> StepResult:
        result = run_step(self._core, rate, window, drain_seconds=DRAIN_SECONDS)
        self._orders.append(result)
        self._report.step(
            f"{rate:,.0f}/s",
            f"settled {result.settled_rate:,.0f}/s, p50 {result.latency_ms.p50:,.0f} ms,"
            f" p99 {result.latency_ms.p99:,.0f} ms",
        )
        return result


def write(result: Result, folder: Path) -> None:
    """JSON and table, and beside them a folder with the picture."""
    told = f"{table(result)}\n![Latency against rate]({PICTURE})\n"
    write_results(folder, "benchmark-results", result, target="bench", told=told)
    title = "Latency from arrival to paid and recorded, by rate"
    (folder / "pictures").mkdir(exist_ok=True)
    (folder / PICTURE).write_text(latency_picture(result.steps, title=title))


def write_callback(result: CallbackResult, folder: Path) -> None:
    """JSON and table."""
    told = callback_table(result)
    write_results(folder, "benchmark-callback", result, target="bench-callback", told=told)


def write_starts(result: StartsResult, folder: Path) -> None:
    """JSON and table."""
    told = starts_table(result)
    write_results(folder, "benchmark-starts", result, target="bench-starts", told=told)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 0 where the run is valid."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=MODES, default="core")
    parser.add_argument("--quick", action="store_true", help="at most three minutes")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--publish", action="store_true", help="into docs/, where README points")
    parser.add_argument("--profile", action="store_true", help="sample the processes' stacks too")
    options = parser.parse_args(argv)
    folder = ROOT / "docs" if options.publish else options.output
    profiles = options.output.resolve() / "profile" if options.profile else None
    stop_like_ctrl_c()
    report = Report()
    core = CoreStack(default_folder("bench"), settings=_sampled(profiles), report=report)
    try:
        told, is_valid = MODES[options.mode](core, report, folder, quick=options.quick)
    except DevstackError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USE
    except (Void, NotDrained) as reason:
        sys.stderr.write(f"The run is void: {reason}.\n")
        return EXIT_VOID
    finally:
        core.down(delete=True)
    sys.stdout.write(f"\n{told}\nWritten to {folder}.\n")
    if profiles is not None:
        sys.stdout.write(profile_table(profiles))
    return 0 if is_valid else EXIT_VOID


def _run_core(core: CoreStack, report: Report, folder: Path, *, quick: bool) -> tuple[str, bool]:
    result = Bench(core, QUICK if quick else FULL, report).run(quick=quick)
    write(result, folder)
    return table(result), result.is_valid


def _run_callback(
    core: CoreStack, report: Report, folder: Path, *, quick: bool
) -> tuple[str, bool]:
    protocol = callback.QUICK if quick else callback.FULL
    result = callback.CallbackBench(core, protocol, report).run(quick=quick)
    write_callback(result, folder)
    return callback_table(result), True


def _run_starts(core: CoreStack, report: Report, folder: Path, *, quick: bool) -> tuple[str, bool]:
    protocol = starts.QUICK if quick else starts.FULL
    result = starts.run_starts(core, protocol, report, quick=quick)
    write_starts(result, folder)
    return starts_table(result), True


# Mode → runs it, writes what it found, and returns the table and whether the run is valid.
MODES = {"core": _run_core, "callback": _run_callback, "starts": _run_starts}


def _sampled(profiles: Path | None) -> dict[str, dict[str, str]]:
    if profiles is None:
        return {}
    shutil.rmtree(profiles, ignore_errors=True)
    profiles.mkdir(parents=True)
    return {service: {PROFILE_DIR: str(profiles)} for service in SERVICES}


if __name__ == "__main__":
    raise SystemExit(main())
