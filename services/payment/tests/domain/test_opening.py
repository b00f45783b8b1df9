"""Which first state a request leads to."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.payment.domain.channel import Capabilities
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.opening import Opening, Origin, open_order
from services.payment.domain.payment_attempt import AttemptStatus, Call
from services.payment.domain.payment_order import OrderStatus
from services.payment.tests.building import BANK, CASHIER
from shared.kernel.errors import Malformed
from shared.kernel.ids import new_id
from testing.builders import SOME_TIME, payment_requested

ORIGIN = Origin(sequence=1, correlation_id=new_id(), causation_id=new_id())


def opened(
    *, channel: Capabilities | None = BANK, now: datetime = SOME_TIME, **fields: Any
) -> Opening:
    return open_order(
        payment_requested(**fields),
        origin=ORIGIN,
        channel_id=BANK.id,
        channel=channel,
        attempt_id=new_id(),
        now=now,
    )


def test_a_direct_channel_starts_its_first_attempt_by_itself() -> None:
    opening = opened()

    assert opening.order.status is OrderStatus.REQUESTED
    assert opening.attempt is not None
    assert opening.attempt.status is AttemptStatus.STARTED
    assert opening.attempt.next_call is Call.START
    assert opening.attempt.due_at == SOME_TIME
    assert opening.attempt.amount == opening.order.amount


def test_a_cashier_waits_for_its_payer() -> None:
    opening = opened(channel=CASHIER)

    assert opening.order.status is OrderStatus.REQUESTED
    assert opening.attempt is None


@pytest.mark.parametrize(
    ("regions", "is_open"),
    [({"310000"}, True), ({"110000"}, False), (set(), False)],
)
def test_a_channel_that_does_not_take_the_region_has_the_order_fail_at_once(
    regions: set[str], is_open: bool
) -> None:
    opening = opened(channel=replace(BANK, regions=frozenset(regions)), region="310000")

    assert (opening.attempt is not None) is is_open
    assert (opening.order.reason is FailureReason.CHANNEL_UNAVAILABLE) is not is_open


@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=1)])
def test_opened_after_its_expiry_it_fails_without_an_attempt(late: timedelta) -> None:
    opening = opened(now=SOME_TIME + timedelta(minutes=30) + late)

    assert opening.attempt is None
    assert opening.order.status is OrderStatus.FAILED
    assert opening.order.reason is FailureReason.EXPIRED
    assert opening.order.failed_version == 2


@pytest.mark.parametrize(
    ("channel", "amount_fen"), [(None, 100), (BANK, BANK.maximum.fen + 1)], ids=["unknown", "limit"]
)
def test_a_channel_that_cannot_take_it_fails_the_order_at_once(
    channel: Capabilities | None, amount_fen: int
) -> None:
    opening = opened(channel=channel, amount_fen=amount_fen)

    assert opening.attempt is None
    assert opening.order.reason is FailureReason.CHANNEL_UNAVAILABLE


@pytest.mark.parametrize("fields", [{"currency": "USD"}, {"amount_fen": 0}])
def test_another_currency_or_no_money_is_malformed(fields: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        opened(**fields)
