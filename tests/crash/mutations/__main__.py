"""`python -m tests.crash.mutations [name …]`: break the product by name, see who notices.

Caught counts only if the same check is green unbroken in this run and the broken line was passed.
Exit codes: 0 all caught, 1 not all, 2 wrong use.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from devstack.plan import ROOT
from devstack.stack import Stack
from testing.stacks.core_stack import default_folder, stop_like_ctrl_c
from tests.crash.__main__ import OUTPUT
from tests.crash.mutations.table import BY_NAME, MUTATIONS, Mutation
from tests.crash.run import Result, Scenario, run_scenario
from tests.crash.scenarios import SCENARIOS
from tests.crash.stacks import SETTINGS, CrashStack

TEST_SECONDS = 900.0
CAUGHT, NOT_CAUGHT, NOT_REACHED, NOT_GREEN = (
    "caught",
    "NOT CAUGHT",
    "line not reached",
    "check is not green unbroken",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who caught a mutation, and how."""

    mutation: str
    what: str
    verdict: str
    caught_by: str

    @property
    def is_caught(self) -> bool:
        return self.verdict == CAUGHT


def run_all(mutations: Sequence[Mutation], output: Path) -> bool:
    """Whether all were caught. What ran before and not now keeps its line in the table."""
    output.mkdir(parents=True, exist_ok=True)
    verdicts: list[Verdict] = []
    for verdict in chain(_by_tests(mutations), _by_scenarios(mutations)):
        _say(f"{verdict.mutation:34} {verdict.verdict:28} {verdict.caught_by}")
        verdicts.append(verdict)
    table = _with_earlier(verdicts, output / "mutations.json")
    rows = [asdict(verdict) for verdict in table]
    (output / "mutations.json").write_text(json.dumps(rows, indent=1) + "\n")
    (output / "mutations.md").write_text(markdown(table))
    caught = sum(verdict.is_caught for verdict in verdicts)
    _say(f"{caught} of {len(verdicts)} caught")
    return caught == len(verdicts)


def _with_earlier(verdicts: Sequence[Verdict], file: Path) -> list[Verdict]:
    earlier = [Verdict(**row) for row in json.loads(file.read_text())] if file.exists() else []
    found = {verdict.mutation: verdict for verdict in (*earlier, *verdicts)}
    return [found[mutation.name] for mutation in MUTATIONS if mutation.name in found]


def markdown(verdicts: Sequence[Verdict]) -> str:
    lines = ["| breakage | what it does | caught by |", "|---|---|---|"]
    for each in verdicts:
        by = each.caught_by if each.is_caught else f"**{each.verdict}**"
        lines.append(f"| `{each.mutation}` | {each.what} | {by} |")
    return "\n".join(lines) + "\n"


def _by_tests(mutations: Sequence[Mutation]) -> Iterator[Verdict]:
    chosen = [mutation for mutation in mutations if mutation.tests]
    if not chosen:
        return
    with _servers() as environment:
        failed = _pytest(sorted({test for each in chosen for test in each.tests}), environment)
        for mutation in chosen:
            red = [one for one in failed if one.startswith(mutation.tests) or "::" not in one]
            yield _not_green(mutation, red[0]) if red else _judged_by_tests(mutation, environment)


def _judged_by_tests(mutation: Mutation, environment: dict[str, str]) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        broken = environment | {
            "SONGHE_MUTATION": mutation.name,
            "SONGHE_MUTATION_MARKS": str(marks),
        }
        failed = _pytest(("-x", "-p", "tests.crash.mutations.plugin", *mutation.tests), broken)
        if not marks.exists():
            return Verdict(mutation.name, mutation.what, NOT_REACHED, "–")
    if not failed:
        return Verdict(mutation.name, mutation.what, NOT_CAUGHT, "–")
    name = failed[0].rpartition("::")[2].replace("_", " ").removeprefix("test ")
    return Verdict(mutation.name, mutation.what, CAUGHT, f"test: {name}")


def _pytest(arguments: Sequence[str], environment: dict[str, str]) -> list[str]:
    """The node ids that failed; an error of pytest itself counts as a failure."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--no-header", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=TEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ["it did not end in time"]
    lines = done.stdout.splitlines()
    failed = [line.split()[1] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return failed or ([] if done.returncode == 0 else [f"pytest ended with {done.returncode}"])


def _by_scenarios(mutations: Sequence[Mutation]) -> Iterator[Verdict]:
    chosen = [mutation for mutation in mutations if mutation.scenario]
    known = {scenario.name: scenario for scenario in SCENARIOS}
    unbroken: dict[str, Result] = {}
    for mutation in chosen:
        assert mutation.scenario is not None
        scenario = known[mutation.scenario]
        if scenario.name not in unbroken:
            unbroken[scenario.name] = _run(scenario, {})
        if not unbroken[scenario.name].is_green:
            yield _not_green(mutation, scenario.name)
            continue
        yield _judged_by_checker(mutation, scenario)


def _judged_by_checker(mutation: Mutation, scenario: Scenario) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        argv = {
            f"{service}-worker": [
                *("-m", "tests.crash.mutations.mutated", service, "worker"),
                *("--mutation", mutation.name, "--marks", str(marks)),
            ]
            for service in mutation.services
        }
        result = _run(scenario, argv)
        if not marks.exists():
            return Verdict(mutation.name, mutation.what, NOT_REACHED, "–")
    if not result.violations:
        return Verdict(mutation.name, mutation.what, NOT_CAUGHT, result.void or "–")
    kinds = sorted({told.split()[0] for told in result.violations})
    by = f"checker in {scenario.name}: {', '.join(kinds)}"
    return Verdict(mutation.name, mutation.what, CAUGHT, by)


def _run(scenario: Scenario, argv: dict[str, list[str]]) -> Result:
    with MutatedStack(default_folder("mutation"), argv) as stack:
        return run_scenario(scenario, stack)


class MutatedStack(CrashStack):
    """Its workers are started by other words, however often."""

    def __init__(self, folder: Path, argv: dict[str, list[str]]) -> None:
        super().__init__(folder, settings=SETTINGS)
        self._argv = argv

    def launch(
        self,
        name: str,
        *,
        environment: Mapping[str, str] | None = None,
        argv: Sequence[str] | None = None,
    ) -> None:
        super().launch(name, environment=environment, argv=argv or self._argv.get(name))


@contextmanager
def _servers() -> Iterator[dict[str, str]]:
    """Servers for all tests of this run, so that each starts at once."""
    stack = Stack(default_folder("mutation-servers"))
    try:
        stack.up(only=["infra"])
        yield {
            "SONGHE_TEST_INFRA": "external",
            "SONGHE_TEST_POSTGRES_URL": stack.superuser_url,
            "SONGHE_TEST_REDIS_URL": stack.plan().redis_url,
            "SONGHE_TEST_KAFKA": stack.plan().kafka_bootstrap_servers,
        }
    finally:
        stack.down(delete=True)


def _not_green(mutation: Mutation, red: str) -> Verdict:
    return Verdict(mutation.name, mutation.what, NOT_GREEN, red)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.mutations")
    parser.add_argument("mutation", nargs="*", help="names; all where none is given")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    stop_like_ctrl_c()
    if options.list:
        for mutation in MUTATIONS:
            _say(f"{mutation.name:34} {mutation.what}")
        return 0
    unknown = [name for name in options.mutation if name not in BY_NAME]
    if unknown:
        parser.error(f"there is no mutation {unknown[0]!r}: see --list")
    chosen = [BY_NAME[name] for name in options.mutation] or MUTATIONS
    return 0 if run_all(chosen, options.output) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
