"""What billing tells an SRE: who waits, for how long, and how long a settlement took."""

import pytest

from services.billing.adapters.postgres.gauges import BillingGauges
from services.billing.tests.running_billing import Billing
from services.billing.tests.telling_payment import Order, open_order
from shared.runtime.ground.metrics import REGISTRY


async def order_requested(billing: Billing, *, seconds_ago: int) -> Order:
    """Gauges go by the database's own clock; an order is open for half an hour."""
    order = await open_order(billing)
    await billing.execute(
        "UPDATE payment_request SET created_at = now() - make_interval(secs => :age),"
        " expires_at = now() + make_interval(secs => 1800 - :age) WHERE payment_order_id = :id",
        age=seconds_ago,
        id=order.id,
    )
    return order


def told(name: str) -> float:
    value = REGISTRY.get_sample_value(f"songhe_billing_{name}")
    assert value is not None
    return value


async def test_an_order_is_overdue_from_its_expiry_until_its_outcome(billing: Billing) -> None:
    gauges = BillingGauges(billing.database)
    waiting = await order_requested(billing, seconds_ago=0)
    await gauges.step()
    assert (told("requests_open"), told("oldest_overdue_seconds")) == (1, 0)

    overdue = await order_requested(billing, seconds_ago=2400)
    await gauges.step()
    assert told("requests_open") == 2
    assert told("oldest_overdue_seconds") == pytest.approx(600, abs=30)

    await billing.hear(overdue.failed(), waiting.settled())
    await gauges.step()
    assert (told("requests_open"), told("oldest_overdue_seconds")) == (0, 0)


async def test_only_the_first_outcome_is_measured_and_only_if_it_settles(billing: Billing) -> None:
    settled = await order_requested(billing, seconds_ago=20)
    failed = await order_requested(billing, seconds_ago=0)
    count, seconds = told("settlement_seconds_count"), told("settlement_seconds_sum")

    await billing.hear(settled.settled(), failed.failed(), settled.settled(sequence=3))

    assert told("settlement_seconds_count") == count + 1
    assert told("settlement_seconds_sum") - seconds == pytest.approx(20, abs=10)
