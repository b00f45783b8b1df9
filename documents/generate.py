"""Documents from code: `python -m documents` writes them, `--check` only compares.

`--check` ends with exit code 1 and a list of what would change.
"""

import difflib
from pathlib import Path

from documents import channels, crash, events, openapi, settings, states

ROOT = Path(__file__).resolve().parent.parent
# Folders that hold generated files and nothing else: what is not generated any more is removed.
OWNED_FOLDERS = (events.FOLDER, openapi.FOLDER)


def documents(root: Path = ROOT) -> dict[Path, str]:
    """Every generated document: path below the root → content."""
    return {
        **events.documents(),
        **openapi.documents(),
        **states.documents(root),
        **settings.documents(root),
        **crash.documents(root),
        **channels.documents(root),
    }


def differences(root: Path = ROOT) -> list[str]:
    """One entry for each file that is not what the code says; empty where all is well."""
    wanted = documents(root)
    found = []
    for path, content in wanted.items():
        current = (root / path).read_text() if (root / path).exists() else ""
        if current != content:
            found.append(_difference(path, current, content))
    return found + [f"{path} is not generated any more" for path in _leftovers(root, set(wanted))]


def write(root: Path = ROOT) -> None:
    wanted = documents(root)
    for path, content in wanted.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    for path in _leftovers(root, set(wanted)):
        (root / path).unlink()


def _difference(path: Path, current: str, wanted: str) -> str:
    lines = difflib.unified_diff(
        current.splitlines(), wanted.splitlines(), str(path), "as the code says", "", "", 1, ""
    )
    return "\n".join(lines)


def _leftovers(root: Path, wanted: set[Path]) -> list[Path]:
    present = {
        path.relative_to(root)
        for folder in OWNED_FOLDERS
        for path in (root / folder).glob("*")
        if path.is_file()
    }
    return sorted(present - wanted)
