"""`python -m tests.crash.publish`: put the last results into docs/, for whoever has no machine.

Takes what `make crash` and `make mutations` left in their output folder.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from devstack.plan import ROOT
from tests.crash.__main__ import OUTPUT

DOCUMENT = Path("docs/crash.md")
PICTURE, NUMBERS = Path("docs/crash.svg"), Path("docs/crash.json")
BEGIN, END = "<!-- last {name} -->", "<!-- end of last {name} -->"


def publish(output: Path, root: Path) -> None:
    """Raises FileNotFoundError where nothing was run, ValueError without the markers."""
    text = (root / DOCUMENT).read_text()
    text = _between(text, "results", (output / "crash.md").read_text())
    if (output / "mutations.md").exists():
        text = _between(text, "mutations", (output / "mutations.md").read_text())
    (root / DOCUMENT).write_text(text)
    shutil.copyfile(output / "crash.svg", root / PICTURE)
    shutil.copyfile(output / "crash.json", root / NUMBERS)


def _between(text: str, name: str, passage: str) -> str:
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{DOCUMENT} has no place for the last {name}")
    return f"{before}{begin}\n\n{passage.strip()}\n\n{end}{after}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.publish", description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the results are")
    options = parser.parse_args(arguments)
    try:
        publish(options.output, ROOT)
    except (FileNotFoundError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
