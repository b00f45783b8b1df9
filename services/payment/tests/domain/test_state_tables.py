"""Every pair of states of every machine of payment is either listed or refused."""

import itertools
from collections.abc import Iterable
from typing import Any, cast

import pytest

from services.payment.domain.payment_attempt import ATTEMPT_TRANSITIONS, AttemptStatus
from services.payment.domain.payment_order import ORDER_TRANSITIONS, OrderStatus
from services.payment.domain.refund import REFUND_TRANSITIONS, RefundStatus
from shared.kernel.errors import Contradiction
from shared.kernel.transitions import Transitions

# Written out a second time on purpose: a table that changes must change here too.
ALLOWED: dict[str, set[tuple[str, str]]] = {
    "payment_order": {
        ("REQUESTED", "SETTLED"),
        ("REQUESTED", "FAILED"),
        ("FAILED", "SETTLED"),
        ("SETTLED", "REFUNDED"),
    },
    "payment_attempt": {
        *itertools.product(("STARTED",), ("AWAITING_PAYER", "SUCCEEDED", "DECLINED", "CLOSED")),
        *itertools.product(("AWAITING_PAYER",), ("SUCCEEDED", "DECLINED", "CLOSED")),
        *itertools.product(("STARTED", "AWAITING_PAYER"), ("UNKNOWN",)),
        *itertools.product(("UNKNOWN",), ("AWAITING_PAYER", "SUCCEEDED", "DECLINED", "CLOSED")),
        ("DECLINED", "SUCCEEDED"),
        ("CLOSED", "SUCCEEDED"),
    },
    "refund": {
        ("REQUESTED", "SUBMITTED"),
        *itertools.product(("SUBMITTED", "UNKNOWN"), ("SUCCEEDED", "REFUSED")),
        ("SUBMITTED", "UNKNOWN"),
    },
}
TABLES: tuple[Transitions[Any], ...] = (ORDER_TRANSITIONS, ATTEMPT_TRANSITIONS, REFUND_TRANSITIONS)
PAIRS = [
    (table, source, target)
    for table in TABLES
    for source, target in itertools.product(cast(Iterable[Any], table.states), repeat=2)
]


@pytest.mark.parametrize(("table", "source", "target"), PAIRS)
def test_a_move_is_allowed_exactly_where_it_is_listed(
    table: Transitions[Any], source: Any, target: Any
) -> None:
    if (source.name, target.name) in ALLOWED[table.machine]:
        assert table.check(source, target, "row") is target
    else:
        with pytest.raises(Contradiction):
            table.check(source, target, "row")


def test_terminal_states_are_those_without_a_way_out() -> None:
    assert ORDER_TRANSITIONS.terminal() == {OrderStatus.REFUNDED}
    assert ATTEMPT_TRANSITIONS.terminal() == {AttemptStatus.SUCCEEDED}
    assert REFUND_TRANSITIONS.terminal() == {RefundStatus.SUCCEEDED, RefundStatus.REFUSED}
