"""Facts in any order that can happen, again and again, end in the same state."""

import random
from collections.abc import Callable
from itertools import permutations, product

import pytest

from services.billing.tests.running_billing import Billing
from services.billing.tests.telling_payment import Fact, Order, decisions_told, open_order
from shared.kernel.events import UnexpectedMoneyReceived

Phase = list[Fact]
Story = Callable[[Order], list[Phase]]

# Within a phase any order may arrive; the facts of a later phase are caused by what billing
# told after the earlier one. Only one order of one aggregate is promised: by sequence.
STORIES: dict[str, Story] = {
    "settled, then refunded": lambda order: [[order.settled(), order.refunded()]],
    "late money accepted": lambda order: [
        [order.failed(), order.unexpected()],
        [order.settled(3)],
    ],
    "late money accepted, then refunded": lambda order: [
        [order.failed(), order.unexpected()],
        [order.settled(3), order.refunded()],
    ],
    "second money refunded": lambda order: [
        [order.settled(), order.unexpected(attempt_id=order.second_attempt_id)],
        [order.refunded(attempt_id=order.second_attempt_id)],
    ],
    "wrong amount refunded": lambda order: [
        [order.failed(reason="wrong_amount"), order.refunded(amount_fen=1)]
    ],
    "late money of a wrong amount rejected": lambda order: [
        [order.failed(), order.unexpected(amount_fen=7)],
        [order.refunded(amount_fen=7)],
    ],
}


@pytest.mark.parametrize("name", STORIES)
async def test_every_order_of_arrival_ends_in_the_same_state(billing: Billing, name: str) -> None:
    ends = []
    shape = [len(phase) for phase in STORIES[name](await open_order(billing))]
    for arrangement in product(*(permutations(range(length)) for length in shape)):
        order = await open_order(billing)
        for phase, places in zip(STORIES[name](order), arrangement, strict=True):
            await billing.hear(*(phase[place] for place in places))
            await _repeat_open_questions(billing, order, phase)
        ends.append(await _end_of(billing, order))

    assert len(ends) > 1
    assert all(end == ends[0] for end in ends)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", STORIES)
async def test_replays_without_an_inbox_change_nothing(
    billing: Billing, name: str, seed: int
) -> None:
    order = await open_order(billing)
    facts = [fact for phase in STORIES[name](order) for fact in phase]
    await billing.hear(*facts)
    before = await billing.business_state()
    told = len(await billing.told(order.person_id))
    draw = random.Random(seed)
    replay = [fact for fact in facts for _ in range(draw.randint(1, 5))]
    draw.shuffle(replay)

    await billing.hear(*replay)

    assert await billing.business_state() == before
    assert len(await billing.told(order.person_id)) == told


async def _repeat_open_questions(billing: Billing, order: Order, phase: Phase) -> None:
    """Payment asks again about money until it hears a decision."""
    if await decisions_told(billing, order):
        return
    for fact in phase:
        if isinstance(fact.body, UnexpectedMoneyReceived):
            amount, attempt = fact.body.amount_fen, fact.body.attempt_id
            await billing.hear(order.unexpected(2, amount_fen=amount, attempt_id=attempt))


async def _end_of(billing: Billing, order: Order) -> tuple[object, ...]:
    contribution = await billing.contribution(order.contribution_id)
    request = await billing.payment_request(order.id)
    decisions = await decisions_told(billing, order)
    refunds = await billing.rows(
        "SELECT amount_fen FROM refund WHERE payment_order_id = :id", id=order.id
    )
    return (
        contribution.status,
        contribution.version,
        contribution.reason,
        contribution.can_retry,
        contribution.paid_by_attempt_id == order.attempt_id,
        request.status,
        request.outcome_sequence,
        [decision.body.type for decision in decisions],
        [row["amount_fen"] for row in refunds],
    )
