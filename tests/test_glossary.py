"""The glossary holds only words in use: each name in code exists in the code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CELL = re.compile(r"\| ([^|]*) \|$", re.MULTILINE)
NAMES = sorted(
    {
        name.removesuffix("…")
        for cell in CELL.findall((ROOT / "docs" / "glossary.md").read_text())
        for name in re.findall(r"`([^`]+)`", cell)
    }
)


@pytest.fixture(scope="module")
def code() -> str:
    folders = ("shared", "services")
    return "\n".join(
        path.read_text() for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))
    )


def test_the_glossary_names_things() -> None:
    assert len(NAMES) > 40


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_glossary_is_in_the_code(name: str, code: str) -> None:
    assert name in code
