"""What `python -m tests.generate` writes is what lies in the tree, and a change is noticed."""

import shutil
from pathlib import Path

import pytest

from shared.kernel.events import EVENT_TYPES
from tests.documents.events import ROUTES
from tests.documents.markers import begin_of, end_of, replace_between
from tests.generate import ROOT, differences, documents, write


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A tree with nothing but the generated documents."""
    for path in documents():
        if (ROOT / path).exists():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, tmp_path / path)
    write(tmp_path)
    return tmp_path


def test_every_generated_document_is_up_to_date() -> None:
    assert differences() == []


def test_every_event_has_a_route() -> None:
    assert set(ROUTES) == set(EVENT_TYPES.values())


def test_a_changed_missing_or_forgotten_document_is_a_difference(written: Path) -> None:
    schemas = written / "docs" / "events"
    (schemas / "PaymentSettled.v1.json").write_text("{}\n")
    (schemas / "PaymentFailed.v1.json").unlink()
    (schemas / "PaymentVanished.v1.json").write_text("{}\n")

    found = "\n".join(differences(written))

    assert "PaymentSettled.v1.json" in found
    assert "PaymentFailed.v1.json" in found
    assert "PaymentVanished.v1.json is not generated any more" in found
    assert "PaymentRefunded" not in found


def test_writing_again_changes_nothing(written: Path) -> None:
    write(written)

    assert differences(written) == []


def test_only_the_passage_between_its_markers_is_replaced() -> None:
    page = f"before\n{begin_of('x')}\nold\n{end_of('x')}\nafter"

    replaced = replace_between(page, "x", "new")

    assert replaced == f"before\n{begin_of('x')}\n\nnew\n\n{end_of('x')}\nafter"
    assert replace_between(replaced, "x", "new") == replaced


def test_a_page_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="are missing"):
        replace_between("no markers here", "x", "new")
