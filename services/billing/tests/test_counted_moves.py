"""What is counted of moves and settlements is what was committed, however often it was tried."""

from collections.abc import Sequence

import pytest

from services.billing.adapters.consumer import BILLING
from services.billing.domain.contribution import CONTRIBUTION
from services.billing.domain.payment_request import PAYMENT_REQUEST
from services.billing.tests.running_billing import Billing
from services.billing.tests.telling_payment import Fact, open_order
from shared.kernel.errors import Contradiction
from shared.kernel.events import ORDERS_TOPIC
from shared.kernel.ids import new_id
from shared.runtime.ground.metrics import REGISTRY, declare_transitions
from shared.runtime.messaging.batch import Batch
from shared.runtime.messaging.consumer import Place, Received, receive
from testing.builders import kafka_record


async def test_a_batch_that_rolls_back_and_is_halved_counts_its_moves_once(
    billing: Billing,
) -> None:
    declare_transitions(CONTRIBUTION)
    declare_transitions(PAYMENT_REQUEST)
    orders = [await open_order(billing) for _ in range(5)]
    facts = [order.settled() for order in orders[:4]]
    # Of another type, so that the settlements are stored before it fails.
    poison = orders[4].failed(payment_order_id=new_id())
    before = counted()

    batch = received([*facts, poison])
    with pytest.raises(Contradiction):
        async with billing.database.transaction() as unit:
            await Batch(unit, BILLING, {}).apply_whole(batch)
    assert counted() == before
    async with billing.database.transaction() as unit:
        outcome = await Batch(unit, BILLING, {}).apply(batch)

    assert (len(outcome.applied), len(outcome.parked)) == (4, 1)
    assert [new - old for old, new in zip(before, counted(), strict=True)] == [4, 4, 4]


def counted() -> list[float]:
    """Contributions paid, requests settled, and settlements measured."""
    series = "songhe_state_transitions_total"
    paid = {"machine": "contribution", "from": "PAYMENT_PENDING", "to": "PAID"}
    settled = {"machine": "payment_request", "from": "OPEN", "to": "SETTLED"}
    values = (
        REGISTRY.get_sample_value(series, paid),
        REGISTRY.get_sample_value(series, settled),
        REGISTRY.get_sample_value("songhe_billing_settlement_seconds_count"),
    )
    return [value for value in values if value is not None]


def received(facts: Sequence[Fact]) -> list[Received]:
    records = [kafka_record(fact) for fact in facts]
    return [
        receive(Place(ORDERS_TOPIC, 0, offset), key, headers, value)
        for offset, (key, headers, value) in enumerate(records)
    ]


async def test_money_that_went_back_before_its_settlement_was_heard_is_two_moves(
    billing: Billing,
) -> None:
    order = await open_order(billing)
    ways = [("PAYMENT_PENDING", "PAID"), ("PAID", "ASSESSED"), ("PAYMENT_PENDING", "ASSESSED")]
    before = [moves(*way) for way in ways]

    await billing.hear(order.refunded(), order.settled())

    assert [moves(*way) - old for way, old in zip(ways, before, strict=True)] == [1, 1, 0]
    assert (await billing.contribution(order.contribution_id)).version == 4


def moves(source: str, target: str) -> float:
    """Of contributions."""
    labels = {"machine": "contribution", "from": source, "to": target}
    return REGISTRY.get_sample_value("songhe_state_transitions_total", labels) or 0.0
