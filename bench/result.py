"""What one run of the benchmark found: written as JSON, as a table and as a picture."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil

from bench.peers.run_naive import NaiveResult
from bench.step import StepResult
from devstack.plan import ROOT

LOOSE_P99_MS = 1000.0
STRICT_P99_MS = 250.0


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What it ran on."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str

    def __str__(self) -> str:
        return f"{self.cores} cores ({self.cpu}), {self.memory_gib} GiB, Python {self.python}"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Every number of one run. `sustained` is the highest rate with p99 below one second."""

    commit: str
    began_at: datetime
    seconds: float
    quick: bool
    machine: Machine
    durable: dict[str, str]
    pgbench_tps: list[float]
    steps: list[StepResult]
    sustained: StepResult | None
    strict: StepResult | None
    at_70_percent: StepResult | None
    naive: list[NaiveResult]
    orders_checked: int
    violations: list[str]

    @property
    def is_valid(self) -> bool:
        return not self.violations

    @property
    def naive_rate(self) -> float:
        return max(step.settled_rate for step in self.naive)


def this_machine() -> Machine:
    return Machine(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=platform.platform(),
        python=f"{platform.python_version()} ({platform.python_compiler()})",
    )


def this_commit(*, digits: int = 12) -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", f"--abbrev={digits}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def write_results(
    folder: Path, name: str, result: msgspec.Struct, *, target: str, told: str
) -> None:
    """Every number as JSON, and what a reader is told of `make target` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(result), indent=2)
    (folder / f"{name}.json").write_bytes(encoded + b"\n")
    (folder / f"{name}.md").write_text(f"# Last results of `make {target}`\n\n{told}", "utf-8")


def now() -> datetime:
    return datetime.now(UTC)


def _cpu_name() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
