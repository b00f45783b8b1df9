"""What `python -m documents` writes is what lies in the tree, and a change is noticed."""

import importlib
import shutil
from pathlib import Path

import pytest

from documents.events import ROUTES
from documents.generate import ROOT, differences, documents, write
from documents.markers import begin_of, end_of, replace_between
from services.notifier.domain.announcements import ANNOUNCEMENTS
from shared.kernel.events import EVENT_TYPES, Event
from testing.checker.agreement import TOLD_BY
from testing.checker.loss import HANDLED


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


@pytest.mark.parametrize(
    ("service", "module"),
    [
        ("billing", "services.billing.adapters.consumer"),
        ("payment", "services.payment.adapters.consumer"),
        ("notifier", "services.notifier.domain.announcements"),
    ],
)
def test_routes_agree_with_the_reaction_tables(service: str, module: str) -> None:
    named = vars(importlib.import_module(module)).values()

    reacts_to = {kind for kind in EVENT_TYPES.values() if any(value is kind for value in named)}

    assert reacts_to == {kind for kind, route in ROUTES.items() if service in route.targets}


def test_the_checker_expects_every_event_where_its_route_leads() -> None:
    """It keeps a table of its own, so that a service's mistake cannot hide in its judge."""
    routes = {kind.type: set(route.targets) for kind, route in ROUTES.items()}
    told = {kind.type: set(each.channels) for kind, each in ANNOUNCEMENTS.items()}

    assert {name: set(consumers) for name, consumers in HANDLED.items()} == routes
    assert {name: set(channels) for name, channels in TOLD_BY.items()} == told


@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=EVENT_TYPES)
def test_a_topic_belongs_to_the_service_that_tells(kind: type[Event]) -> None:
    assert kind.topic.startswith(f"{ROUTES[kind].source}.")


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
