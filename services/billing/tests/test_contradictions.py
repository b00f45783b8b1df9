"""Facts that exclude what is recorded: loud, and without any effect."""

from typing import Any

import pytest

from services.billing.tests.running_billing import Billing
from services.billing.tests.telling_payment import Fact, Order, open_order
from shared.kernel.errors import Contradiction
from shared.kernel.ids import new_id

UNKNOWN = new_id()
TELLERS = ("settled", "failed", "unexpected", "refunded")


async def refused_loudly(billing: Billing, fact: Fact) -> None:
    before = await billing.business_state()

    with pytest.raises(Contradiction):
        await billing.hear(fact)

    assert await billing.business_state() == before


def tell(order: Order, teller: str, **fields: Any) -> Fact:
    fact: Fact = getattr(order, teller)(**fields)
    return fact


@pytest.mark.parametrize("teller", TELLERS)
async def test_order_that_billing_never_asked_for(billing: Billing, teller: str) -> None:
    order = await open_order(billing)

    await refused_loudly(billing, tell(order, teller, payment_order_id=UNKNOWN))


@pytest.mark.parametrize("teller", TELLERS)
async def test_contribution_that_does_not_exist(billing: Billing, teller: str) -> None:
    order = await open_order(billing)

    await refused_loudly(billing, tell(order, teller, contribution_id=UNKNOWN))


@pytest.mark.parametrize("teller", TELLERS)
async def test_contribution_of_another_order(billing: Billing, teller: str) -> None:
    order, other = await open_order(billing), await open_order(billing)

    await refused_loudly(billing, tell(order, teller, contribution_id=other.contribution_id))


@pytest.mark.parametrize("teller", TELLERS)
async def test_another_person(billing: Billing, teller: str) -> None:
    order = await open_order(billing)

    await refused_loudly(billing, tell(order, teller, insured_person_id=UNKNOWN))


@pytest.mark.parametrize("teller", ["settled", "failed"])
@pytest.mark.parametrize("fields", [{"amount_fen": 1}, {"currency": "USD"}])
async def test_outcome_of_another_amount(
    billing: Billing, teller: str, fields: dict[str, Any]
) -> None:
    order = await open_order(billing)

    await refused_loudly(billing, tell(order, teller, **fields))


async def test_settlement_of_a_failed_order_without_accepted_money(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.failed())

    await refused_loudly(billing, order.settled(sequence=3))


async def test_settlement_of_a_failed_order_by_rejected_money(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.failed(), order.unexpected(amount_fen=1))

    await refused_loudly(billing, order.settled(sequence=3))


async def test_failure_of_a_settled_order(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.settled())

    await refused_loudly(billing, order.failed(sequence=3))


async def test_settlement_by_a_second_attempt(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.settled())

    await refused_loudly(billing, order.settled(sequence=3, attempt_id=new_id()))


async def test_unexpected_money_of_the_attempt_that_settled(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.settled())

    await refused_loudly(billing, order.unexpected())
