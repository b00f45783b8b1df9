"""Every pair of states of both machines: allowed exactly where the table says so."""

from itertools import product
from typing import Any

import pytest

from services.billing.domain.contribution import CONTRIBUTION, HAS_MONEY, ContributionStatus
from services.billing.domain.payment_request import PAYMENT_REQUEST
from shared.kernel.errors import Contradiction
from shared.kernel.transitions import Transitions

ALLOWED = {
    "contribution": {
        ("ASSESSED", "PAYMENT_PENDING"),
        ("ASSESSED", "SUPERSEDED"),
        ("ASSESSED", "PAID"),
        ("PAYMENT_PENDING", "PAID"),
        ("PAYMENT_PENDING", "ASSESSED"),
        ("PAID", "ASSESSED"),
        ("PAID", "CREDITED"),
        ("PAID", "CREDIT_REFUSED"),
    },
    "payment_request": {("OPEN", "SETTLED"), ("OPEN", "FAILED"), ("FAILED", "SETTLED")},
}
PAIRS = [
    (table, source, target)
    for table in (CONTRIBUTION, PAYMENT_REQUEST)
    for source, target in product(table.states, table.states)
]


@pytest.mark.parametrize(
    ("table", "source", "target"), PAIRS, ids=lambda value: getattr(value, "machine", str(value))
)
def test_a_move_is_allowed_exactly_where_the_design_says(
    table: Transitions[Any], source: Any, target: Any
) -> None:
    if (str(source), str(target)) in ALLOWED[table.machine]:
        assert table.check(source, target, "row") is target
    else:
        with pytest.raises(Contradiction):
            table.check(source, target, "row")


def test_money_is_there_in_exactly_the_states_behind_paid() -> None:
    behind = CONTRIBUTION.targets(ContributionStatus.PAID) - {ContributionStatus.ASSESSED}

    assert {ContributionStatus.PAID} | behind == HAS_MONEY
