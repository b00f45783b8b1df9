"""The crash points as the code has them, found without running it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("shared", "services")


def reached_points() -> list[str]:
    """The literal name of every `crash_points.reach("…")`. Raises ValueError for any other."""
    return [
        name
        for folder in FOLDERS
        for file in sorted((ROOT / folder).rglob("*.py"))
        if "tests" not in file.parts
        for name in _points_of(file)
    ]


def _points_of(file: Path) -> Iterator[str]:
    source = file.read_text()
    if "crash_points" not in source or file.name == "crash_points.py":
        return
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "crash_points.reach"):
            continue
        match node.args:
            case [ast.Constant(value=str(name))]:
                yield name
            case _:
                raise ValueError(f"{file}:{node.lineno} names its crash point by no literal")
