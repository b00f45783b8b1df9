"""Record what channels answered: the one place where answers become state, in one transaction."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.payment.application.ports import Channels, Unit
from services.payment.application.tell_outcomes import (
    tell_delay,
    tell_outcomes,
    tell_unexpected_money,
)
from services.payment.domain.channel_answer import Answer
from services.payment.domain.operator_item import ItemKind, OperatorItem
from services.payment.domain.outcome import Asking, Outcome, decide
from services.payment.domain.payment_attempt import Call, PaymentAttempt
from services.payment.domain.payment_order import PaymentOrder
from shared.kernel.errors import Contradiction

log = logging.getLogger(__name__)

# A channel that contradicts itself is asked again slowly: a person must look first.
CONTRADICTION_PAUSE = timedelta(hours=1)


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One answer on its way to the record.

    `lease` is what the asker held; its answer counts only while the row still names it. None is
    for verified news that nobody asked for under a lease.
    """

    order_id: UUID
    attempt_id: UUID
    lease: UUID | None
    call: Call
    answer: Answer
    asked_at: datetime


async def record_outcomes(
    unit: Unit, answers: Sequence[Answered], *, channels: Channels, now: datetime
) -> int:
    """Decide and store all answers; returns how many counted.

    Orders are locked in id order, then attempts. An answer whose lease is over is dropped: the
    next holder asks again. A contradiction is left as it is, with an item.
    """
    orders = await unit.orders.lock([answered.order_id for answered in answers])
    attempts = await unit.attempts.lock([answered.attempt_id for answered in answers])
    before = dict(orders)
    attempt_changes: list[tuple[PaymentAttempt, PaymentAttempt]] = []
    outcomes: list[Outcome] = []
    for answered in answers:
        attempt = attempts.get(answered.attempt_id)
        order = orders.get(answered.order_id)
        if order is None or attempt is None or _came_too_late(answered, attempt):
            continue
        outcome = _decide(order, attempt, answered, channels=channels, now=now)
        orders[order.id] = outcome.order
        released = replace(outcome.attempt, lease_owner=None)
        attempts[attempt.id] = released
        attempt_changes.append((attempt, released))
        outcomes.append(outcome)
    await _store(unit, before, orders, attempt_changes)
    _tell_delays(unit, outcomes, orders)
    if any(not attempt.is_direct for attempt in attempts.values()):
        await _close_others(unit, before, orders, now=now)
    await unit.refunds.request([o.refund for o in outcomes if o.refund is not None])
    await unit.open_items([item for outcome in outcomes for item in outcome.items])
    return len(outcomes)


def _came_too_late(answered: Answered, attempt: PaymentAttempt) -> bool:
    return answered.lease is not None and answered.lease != attempt.lease_owner


async def _store(
    unit: Unit,
    before: dict[UUID, PaymentOrder],
    after: dict[UUID, PaymentOrder],
    attempt_changes: Sequence[tuple[PaymentAttempt, PaymentAttempt]],
) -> None:
    await unit.orders.save(
        [(order, after[order.id]) for order in before.values() if after[order.id] != order]
    )
    await unit.attempts.save(attempt_changes)
    for order in before.values():
        tell_outcomes(unit, order, after[order.id])
    for old, new in attempt_changes:
        if new.unexpected_sequence > old.unexpected_sequence:
            tell_unexpected_money(unit, after[new.order_id], new)


def _tell_delays(unit: Unit, outcomes: Sequence[Outcome], after: dict[UUID, PaymentOrder]) -> None:
    """Once per order, and only where no other answer of the set told its outcome."""
    delayed = {outcome.order.id: outcome for outcome in outcomes if outcome.owes_news}
    for id, outcome in delayed.items():
        if after[id].is_open:
            tell_delay(unit, outcome.order, outcome.attempt)


async def _close_others(
    unit: Unit, before: dict[UUID, PaymentOrder], after: dict[UUID, PaymentOrder], *, now: datetime
) -> None:
    """Nobody shall pay a finished order: what is still open at a cashier is to be closed there."""
    finished = [id for id, order in before.items() if order.is_open and not after[id].is_open]
    if finished:
        await unit.cashier_attempts.want_closed(finished, now=now)


def _decide(
    order: PaymentOrder,
    attempt: PaymentAttempt,
    answered: Answered,
    *,
    channels: Channels,
    now: datetime,
) -> Outcome:
    channel = channels.get(attempt.channel)
    asking = Asking(
        call=answered.call,
        channel=channel.capabilities if channel else None,
        asked_at=answered.asked_at,
        now=now,
    )
    try:
        return decide(order, attempt, answered.answer, asking)
    except Contradiction as contradiction:
        log.error("channel_contradiction: %s", contradiction.detail)
        item = OperatorItem(ItemKind.CHANNEL_CONTRADICTION, str(attempt.id), contradiction.detail)
        paused = attempt
        if attempt.is_open:
            paused = replace(attempt, due_at=now + CONTRADICTION_PAUSE)
        return Outcome(order, paused, items=(item,))
