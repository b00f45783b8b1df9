"""`python -m tests.crash [--quick] [--list] [scenario …]`: run scenarios and print their table.

Exit codes: 0 all green, 1 something was lost, doubled, stuck, wrong or void, 2 wrong use.
"""

import argparse
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from devstack.plan import ROOT
from testing.stacks.core_stack import default_folder, stop_like_ctrl_c
from tests.crash.faults.points import QUICK_SCENARIOS
from tests.crash.report import Report, read_results
from tests.crash.run import Mode, Result, Scenario, failed_run, run_scenario
from tests.crash.scenarios import SCENARIOS
from tests.crash.stacks import SETTINGS, CashierStack, CrashStack, WireStack

OUTPUT = ROOT / ".songhe" / "crash"
# A stack that stays green is used again; the world that is read for the check grows with it.
RUNS_PER_STACK = 6
STACKS: Mapping[Mode, type[CrashStack]] = {
    Mode.CORE: CrashStack,
    Mode.WIRE: WireStack,
    Mode.CASHIER: CashierStack,
}


class Stacks:
    """One stack at a time; a new one after a red run, and for a scenario that needs its own."""

    def __init__(self, keep_logs: Path) -> None:
        self._keep_logs = keep_logs
        self._stack: CrashStack | None = None
        self._runs = 0

    def of(self, scenario: Scenario) -> CrashStack:
        kind = STACKS[scenario.mode]
        fits = type(self._stack) is kind
        if not fits or scenario.is_alone or self._runs >= RUNS_PER_STACK:
            self.close()
        if self._stack is None:
            self._stack = kind(default_folder("crash"), settings=SETTINGS)
            self._stack.up()
            self._runs = 0
        self._runs += 1
        return self._stack

    def after(self, scenario: Scenario, result: Result) -> None:
        if not result.is_green and self._stack is not None:
            logs = self._stack.stack.state_dir / "logs"
            shutil.rmtree(self._keep_logs / scenario.name, ignore_errors=True)
            shutil.copytree(logs, self._keep_logs / scenario.name)
        if scenario.is_alone or not result.is_green:
            self.close()

    def close(self) -> None:
        if self._stack is not None:
            folder = self._stack.stack.state_dir
            self._stack.down(delete=True)
            shutil.rmtree(folder, ignore_errors=True)
            self._stack = None


Run = Callable[[Scenario, Stacks], Result]


def run_all(
    scenarios: Sequence[Scenario], output: Path, *, run: Run | None = None, keeps: bool = False
) -> bool:
    """Run them one after the other; whether all were green. A red one does not end the run.

    A run that says nothing, because the machine was too slow for what was to happen, is tried once
    more; one that found anything is not.
    """
    run = run or _run
    output.mkdir(parents=True, exist_ok=True)
    # A run of one scenario replaces its line, a whole one all of them.
    report = Report(output, kept=read_results(output) if keeps else ())
    stacks = Stacks(output / "logs")
    try:
        for scenario in scenarios:
            result = run(scenario, stacks)
            if result.says_nothing:
                sys.stdout.write(f"{scenario.name} says nothing ({result.void}): once more\n")
                stacks.after(scenario, result)
                result = run(scenario, stacks)
            report.add(result)
            stacks.after(scenario, result)
    finally:
        stacks.close()
    report.write()
    return report.is_green


def _run(scenario: Scenario, stacks: Stacks) -> Result:
    try:
        return run_scenario(scenario, stacks.of(scenario))
    except Exception as error:  # noqa: BLE001 - the others run all the same
        traceback.print_exc()
        return failed_run(scenario, error)


def main(arguments: Sequence[str]) -> int:
    known = {scenario.name: scenario for scenario in (*SCENARIOS, *QUICK_SCENARIOS)}
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument(
        "scenario", nargs="*", help="names; all of the long run where none is given"
    )
    parser.add_argument("--quick", action="store_true", help="every crash point in a few minutes")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--rate", type=float, help="orders per second, for a slow machine")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="for table, JSON and picture")
    options = parser.parse_args(arguments)
    stop_like_ctrl_c()
    unknown = [name for name in options.scenario if name not in known]
    if unknown:
        parser.error(f"there is no scenario {unknown[0]!r}: see --list")
    if options.list:
        for scenario in known.values():
            sys.stdout.write(f"{scenario.name:42} {scenario.what}\n")
        return 0
    chosen = [known[name] for name in options.scenario]
    if not chosen:
        chosen = list(QUICK_SCENARIOS if options.quick else SCENARIOS)
    if options.rate is not None:
        chosen = [replace(scenario, rate=options.rate) for scenario in chosen]
    return 0 if run_all(chosen, options.output, keeps=bool(options.scenario)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
