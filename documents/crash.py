"""docs/crash.md: the scenarios and the breakages as the code has them."""

from pathlib import Path

from documents.markers import replace_between, table
from tests.crash.faults.points import QUICK_SCENARIOS
from tests.crash.mutations.table import MUTATIONS
from tests.crash.scenarios import SCENARIOS

FILE = Path("docs/crash.md")


def documents(root: Path) -> dict[Path, str]:
    text = (root / FILE).read_text()
    text = replace_between(text, "scenarios", _scenarios())
    return {FILE: replace_between(text, "breakages", _breakages())}


def _scenarios() -> str:
    rows = [
        (f"`{each.name}`", each.what, each.mode.value, f"{each.rate:g}/s for {each.seconds:g} s")
        for each in (*SCENARIOS, *QUICK_SCENARIOS)
    ]
    return table(("scenario", "what happens", "mode", "load"), tuple(rows))


def _breakages() -> str:
    rows = [(f"`{each.name}`", each.what) for each in MUTATIONS]
    return table(("breakage", "what it does"), tuple(rows))
