"""Every link between our documents leads somewhere: to a file, and to a heading that is in it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents.generate import ROOT

FOLDERS = ("docs", "services", "sandbox", "devstack", "bench", "deploy", "tests")
PAGES = [
    ROOT / "README.md",
    *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md"))),
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def links(page: Path) -> Iterator[tuple[Path, str]]:
    for target, anchor in LINK.findall(page.read_text()):
        yield ((page.parent / target).resolve() if target else page), anchor


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, hyphens for spaces, and no other punctuation."""
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")
        for heading in HEADING.findall(page.read_text())
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), f"{target} is not there"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{target.name} has no heading #{anchor}"
