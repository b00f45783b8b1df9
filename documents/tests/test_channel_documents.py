"""docs/channels.md leaves nothing out: every time, every state, every reason of a refusal."""

import re

import pytest

from documents.channels import PAGE, TIMES
from documents.generate import ROOT
from services.payment.domain import query_schedule
from services.payment.domain.channel_notification import RefusalReason
from services.payment.domain.operator_item import ItemKind
from services.payment.domain.situation import Situation

TEXT = (ROOT / PAGE).read_text()
STUCK = (ROOT / "docs" / "stuck-order.md").read_text()


def test_every_time_of_the_schedule_is_there_with_its_reason() -> None:
    named = {name for _, names in TIMES for name in names}

    assert {name for name in vars(query_schedule) if name.isupper()} <= named
    for name in named:
        (row,) = re.findall(rf"^\| `{name}` \|.*$", TEXT, re.MULTILINE)
        assert not row.endswith("| – |")


@pytest.mark.parametrize("reason", RefusalReason)
def test_every_reason_of_a_refusal_is_explained(reason: RefusalReason) -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+) \|", TEXT, re.MULTILINE)

    assert f"`{reason.value}`" in ", ".join(rows)


@pytest.mark.parametrize("situation", Situation)
def test_every_state_is_read_once(situation: Situation) -> None:
    assert TEXT.count(f"| `{situation.value}` | **") == 1


@pytest.mark.parametrize("kind", ItemKind)
def test_every_item_of_payment_has_its_way_out(kind: ItemKind) -> None:
    assert f"| `{kind.value}` |" in STUCK
