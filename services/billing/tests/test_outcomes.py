"""What payment tells: applied once, and what it does to contribution and request."""

from uuid import UUID

import pytest

from services.billing.adapters.consumer import REACTIONS
from services.billing.domain.contribution import ContributionStatus
from services.billing.domain.payment_request import PaymentRequestStatus
from services.billing.tests.builders import AMOUNT
from services.billing.tests.running_billing import Billing
from services.billing.tests.telling_payment import (
    Order,
    decisions_told,
    next_order,
    open_order,
)
from shared.kernel.events import MoneyAccepted, MoneyRejected, PaymentSettled
from shared.kernel.ids import event_id, new_id

S, R = ContributionStatus, PaymentRequestStatus
State = tuple[ContributionStatus, PaymentRequestStatus, UUID | None]


async def state_of(billing: Billing, order: Order) -> State:
    contribution = await billing.contribution(order.contribution_id)
    request = await billing.payment_request(order.id)
    return contribution.status, request.status, contribution.paid_by_attempt_id


async def test_settlement_pays_the_contribution(billing: Billing) -> None:
    order = await open_order(billing)

    await billing.hear(order.settled())

    assert await state_of(billing, order) == (S.PAID, R.SETTLED, order.attempt_id)


async def test_second_settlement_changes_nothing(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.settled())
    before = await billing.business_state()

    await billing.hear(order.settled())

    assert await billing.business_state() == before


async def test_failure_makes_the_contribution_owed_again(billing: Billing) -> None:
    order = await open_order(billing)

    await billing.hear(order.failed(reason="insufficient_funds"))

    assert await state_of(billing, order) == (S.ASSESSED, R.FAILED, None)
    contribution = await billing.contribution(order.contribution_id)
    assert (contribution.reason, contribution.can_retry) == ("insufficient_funds", True)


async def test_late_money_is_accepted_while_it_is_still_owed(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.failed())

    await billing.hear(order.unexpected())

    assert await state_of(billing, order) == (S.PAID, R.FAILED, order.attempt_id)
    [told] = await decisions_told(billing, order)
    assert type(told.body) is MoneyAccepted
    assert told.envelope.event_id == event_id("MoneyAccepted", order.attempt_id, 1)


async def test_settlement_after_accepted_money_follows_quietly(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.failed(), order.unexpected())
    paid = await billing.contribution(order.contribution_id)

    await billing.hear(order.settled(sequence=3))

    assert await state_of(billing, order) == (S.PAID, R.SETTLED, order.attempt_id)
    assert await billing.contribution(order.contribution_id) == paid


@pytest.mark.parametrize("amount_fen", [AMOUNT.fen - 1, AMOUNT.fen + 1, 0])
async def test_late_money_of_another_amount_is_rejected(billing: Billing, amount_fen: int) -> None:
    order = await open_order(billing)
    await billing.hear(order.failed())

    await billing.hear(order.unexpected(amount_fen=amount_fen))

    assert await state_of(billing, order) == (S.ASSESSED, R.FAILED, None)
    [told] = await decisions_told(billing, order)
    assert type(told.body) is MoneyRejected


async def test_late_money_is_rejected_while_another_order_is_open(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.failed())
    await next_order(billing, order)

    await billing.hear(order.unexpected())

    contribution = await billing.contribution(order.contribution_id)
    assert contribution.status is S.PAYMENT_PENDING
    [told] = await decisions_told(billing, order)
    assert type(told.body) is MoneyRejected


async def test_money_that_comes_twice_is_rejected(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.settled())

    await billing.hear(order.unexpected(attempt_id=new_id()))

    assert await state_of(billing, order) == (S.PAID, R.SETTLED, order.attempt_id)
    [told] = await decisions_told(billing, order)
    assert type(told.body) is MoneyRejected


async def test_nothing_is_decided_while_the_outcome_of_the_order_is_missing(
    billing: Billing,
) -> None:
    order = await open_order(billing)

    await billing.hear(order.unexpected())

    assert await state_of(billing, order) == (S.PAYMENT_PENDING, R.OPEN, None)
    assert await decisions_told(billing, order) == []


async def test_question_asked_again_gets_the_original_decision(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.failed(), order.unexpected())
    await billing.execute("DELETE FROM outbox_queue")

    await billing.hear(order.unexpected(sequence=2))

    [told] = await decisions_told(billing, order)
    resent = await billing.rows(
        "SELECT event_id FROM outbox WHERE resend_at IS NOT NULL AND key = :key",
        key=str(order.person_id),
    )
    assert [row["event_id"] for row in resent] == [told.envelope.event_id]


async def test_decision_that_retention_removed_is_told_once_more(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.failed(), order.unexpected())
    [original] = await decisions_told(billing, order)
    await billing.execute("DELETE FROM outbox WHERE key = :key", key=str(order.person_id))

    await billing.hear(order.unexpected(sequence=2))

    [told] = await decisions_told(billing, order)
    assert told.body == original.body
    assert told.envelope.event_id == original.envelope.event_id
    assert told.envelope.causation_id == original.envelope.causation_id


async def test_decision_stands_although_circumstances_changed(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.failed())
    second = await next_order(billing, order)
    await billing.hear(order.unexpected(), second.failed())

    await billing.hear(order.unexpected(sequence=2))

    assert await state_of(billing, order) == (S.ASSESSED, R.FAILED, None)
    assert {type(told.body) for told in await decisions_told(billing, order)} == {MoneyRejected}


async def test_refund_of_the_paying_attempt_makes_it_owed_again(billing: Billing) -> None:
    order = await open_order(billing)

    await billing.hear(order.settled(), order.refunded())

    assert await state_of(billing, order) == (S.ASSESSED, R.SETTLED, None)
    assert (await billing.contribution(order.contribution_id)).reason == "refunded"


async def test_refund_of_other_money_changes_nothing(billing: Billing) -> None:
    order = await open_order(billing)
    await billing.hear(order.settled())

    await billing.hear(order.refunded(attempt_id=new_id()))

    assert await state_of(billing, order) == (S.PAID, R.SETTLED, order.attempt_id)


async def test_part_of_the_money_going_back_leaves_it_paid_until_the_rest_does(
    billing: Billing,
) -> None:
    order = await open_order(billing)
    await billing.hear(order.settled())

    await billing.hear(order.refunded(amount_fen=AMOUNT.fen - 1, refund_id=new_id()))
    after_part = await state_of(billing, order)
    await billing.hear(order.refunded(amount_fen=1, refund_id=new_id()))

    assert after_part == (S.PAID, R.SETTLED, order.attempt_id)
    assert await state_of(billing, order) == (S.ASSESSED, R.SETTLED, None)


async def test_refund_told_again_after_a_second_payment_changes_nothing(billing: Billing) -> None:
    first = await open_order(billing)
    first_story = [first.settled(), first.refunded()]
    await billing.hear(*first_story)
    second = await next_order(billing, first)
    await billing.hear(second.settled())

    await billing.hear(*first_story)

    assert await state_of(billing, second) == (S.PAID, R.SETTLED, second.attempt_id)


async def test_one_batch_pays_many_contributions(billing: Billing) -> None:
    orders = [await open_order(billing) for _ in range(30)]

    async with billing.database.transaction() as unit:
        await REACTIONS[PaymentSettled](unit, [order.settled() for order in orders])

    assert {await state_of(billing, order) for order in orders} == {
        (S.PAID, R.SETTLED, order.attempt_id) for order in orders
    }
