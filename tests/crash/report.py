"""What the runs gave: a table while they run, then JSON, Markdown and a picture."""

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil

from tests.crash.picture import draw
from tests.crash.run import Result

HEAD = f"{'scenario':42} {'orders':>7} {'lost':>5} {'dbl':>4} {'stuck':>5} {'wrong':>5} " + (
    f"{'recovery':>9} {'after/before':>12} {'took':>6}"
)


class Report:
    """Collects results in a folder of its own.

    `kept` are the lines of an earlier run, which the new ones replace by name.
    """

    def __init__(self, folder: Path, *, kept: Sequence[Result] = ()) -> None:
        self._folder = folder
        self._began = datetime.now(UTC)
        self._kept = kept
        self.results: list[Result] = []

    @property
    def is_green(self) -> bool:
        return bool(self.results) and all(result.is_green for result in self.results)

    @property
    def _all(self) -> list[Result]:
        new = {result.name: result for result in self.results}
        kept = [new.pop(result.name, result) for result in self._kept]
        return [*kept, *new.values()]

    def add(self, result: Result) -> None:
        if not self.results:
            _say(HEAD)
        self.results.append(result)
        _say(_line(result))
        for told in (*result.notes, *result.violations):
            _say(f"    {told}")
        self._write_json()

    def write(self) -> None:
        """`crash.json`, `crash.md` and `crash.svg`."""
        self._write_json()
        (self._folder / "crash.md").write_text(markdown(self._all))
        (self._folder / "crash.svg").write_text(draw(self._all))
        green = sum(result.is_green for result in self.results)
        minutes = sum(result.run_seconds for result in self.results) / 60
        _say(f"{green} of {len(self.results)} green in {minutes:.1f} min; see {self._folder}")

    def _write_json(self) -> None:
        told = {
            "began_at": self._began.isoformat(),
            "machine": {
                "cores": psutil.cpu_count(),
                "memory_bytes": psutil.virtual_memory().total,
                "system": platform.platform(),
                "python": platform.python_version(),
            },
            "results": [asdict(result) for result in self._all],
        }
        text = json.dumps(told, indent=1, ensure_ascii=False)
        (self._folder / "crash.json").write_text(text + "\n")


def read_results(folder: Path) -> list[Result]:
    """The lines that an earlier run left there; none where there was none."""
    file = folder / "crash.json"
    if not file.exists():
        return []
    return msgspec.json.decode(file.read_bytes(), type=_Told).results


class _Told(msgspec.Struct):
    results: list[Result]


def markdown(results: list[Result]) -> str:
    """The table as it stands in docs/crash.md."""
    lines = [
        "| scenario | orders | lost | doubled | stuck | wrong | recovery, s | after ÷ before |"
        " commit |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for each in results:
        cells = [f"`{each.name}`", _count(each.orders), each.lost, each.doubled, each.stuck]
        cells += [each.wrong, _seconds(each.recovery_seconds), _ratio(each.rate_ratio), each.commit]
        void = f" **void: {each.void}**" if each.void else ""
        lines.append("| " + " | ".join(str(cell) for cell in cells) + f" |{void}")
    return "\n".join(lines) + "\n"


def _line(result: Result) -> str:
    return (
        f"{result.name:42} {result.orders:>7} {result.lost:>5} {result.doubled:>4}"
        f" {result.stuck:>5} {result.wrong:>5} {_seconds(result.recovery_seconds):>9}"
        f" {_ratio(result.rate_ratio):>12} {result.run_seconds:>5.0f}s"
        + (f"  VOID: {result.void}" if result.void else "")
    )


def _count(value: int) -> str:
    return f"{value:,}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
