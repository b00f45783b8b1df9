"""An older revision beside this tree, on this machine: start, memory, and the second `up`.

`python -m bench.compare OLD_REV` runs both alternately, A B A B, and prints ratios as Markdown.
Nothing of a figure depends on the hour: whatever else the machine does meets both alike.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import psutil

from devstack.plan import ROOT
from devstack.report import Report
from shared.catalogue import SERVICES

ROUNDS = 2
KINDS = ("worker", "api")
MIB = 2**20
# How long a process rests before its memory is read: its loops went round a few times.
IDLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Tree:
    """One checked-out revision, with a stack of its own; only one of them runs at a time."""

    name: str
    code: Path
    state: Path

    def devstack(self, *arguments: str) -> str:
        """Run a command of that tree's own devstack; raises CalledProcessError."""
        done = subprocess.run(
            [sys.executable, "-m", "devstack", *arguments, "--state-dir", str(self.state)],
            cwd=self.code,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def process(self, name: str) -> psutil.Process:
        # Not asked of `status`: until that has started, the process goes on working.
        record = json.loads((self.state / "run" / f"{name}.json").read_text())
        return psutil.Process(record["pid"])


@dataclass(slots=True)
class Figures:
    """Every reading of one tree, by figure; a figure of a kind has one per service and round."""

    readings: dict[str, list[float]] = field(default_factory=dict)

    def add(self, figure: str, value: float) -> None:
        self.readings.setdefault(figure, []).append(value)


def compare(trees: Sequence[Tree], figures: Sequence[Figures], rounds: int, report: Report) -> None:
    """Add the readings of `rounds` turns of each tree to its figures."""
    for tree in trees:
        report.step(tree.name, "makes its databases and caches")
        tree.devstack("up")
        tree.devstack("down")
    for turn in range(rounds):
        for tree, found in zip(trees, figures, strict=True):
            report.step(tree.name, f"turn {turn + 1} of {rounds}")
            try:
                _measure(tree, found)
            finally:
                tree.devstack("down")


def _measure(tree: Tree, found: Figures) -> None:
    began = time.monotonic()
    tree.devstack("up")
    found.add("second `make up`, s", time.monotonic() - began)
    names = [(kind, f"{service}-{kind}") for kind in KINDS for service in SERVICES]
    for kind, name in names:
        # Alone, so that what is read is what it took until it was ready, and no later work.
        tree.devstack("restart", name)
        used = tree.process(name).cpu_times()
        found.add(f"CPU until a {kind} is ready, s", used.user + used.system)
    time.sleep(IDLE_SECONDS)
    for kind, name in names:
        found.add(f"memory of an idle {kind}, MiB", tree.process(name).memory_info().rss / MIB)


def table(names: Sequence[str], figures: Sequence[Figures]) -> str:
    """Markdown: the mean of each figure in both trees, and the newer one's share of the older."""
    older, newer = figures
    lines = [f"| figure | {names[0]} | {names[1]} | ratio |", "|---|---:|---:|---:|"]
    for figure, before in older.readings.items():
        if figure not in newer.readings:
            continue
        old, new = mean(before), mean(newer.readings[figure])
        lines.append(f"| {figure} | {old:.2f} | {new:.2f} | {new / old:.2f} × |")
    return "\n".join(lines)


def check_out(revision: str, folder: Path) -> None:
    """The files of a revision; the repository itself is left as it is."""
    packed = subprocess.run(
        ["git", "archive", revision], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("revision", help="the older one, such as f846347")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="songhe-compare-") as name:
        folder = Path(name)
        # PostgreSQL runs as another user when we are root and has to pass through.
        folder.chmod(0o711)
        old = folder / "old"
        old.mkdir()
        check_out(options.revision, old)
        trees = [
            Tree(options.revision, old, folder / "old-state"),
            Tree("this tree", ROOT, folder / "new-state"),
        ]
        figures = [Figures() for _ in trees]
        try:
            compare(trees, figures, options.rounds, Report())
        except KeyboardInterrupt:
            sys.stdout.write("Stopped: what was read so far.\n")
        finally:
            for tree in trees:
                tree.devstack("down")
    sys.stdout.write(table([tree.name for tree in trees], figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
