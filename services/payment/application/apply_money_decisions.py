"""What billing decided about unexpected money: it pays the contribution, or it goes back."""

from collections.abc import Sequence

from services.payment.application.ports import Unit
from services.payment.application.tell_outcomes import tell_outcomes
from services.payment.domain.outcome import refund_due, settlement_by
from services.payment.domain.payment_attempt import MoneyDecision, PaymentAttempt, decided
from services.payment.domain.payment_order import PaymentOrder, accept_money, shown_anew
from services.payment.domain.refund import RefundReason, refund_all
from shared.kernel.clock import Clock
from shared.kernel.errors import Contradiction
from shared.kernel.events import Message, MoneyAccepted, MoneyRejected


async def accept(unit: Unit, messages: Sequence[Message[MoneyAccepted]]) -> None:
    """Settle failed orders by their late money. Told again it changes nothing.

    Raises Contradiction for money that was never unexpected, was rejected before, or belongs
    to an order that is open or was settled by another attempt.
    """
    order_changes, attempt_changes = [], []
    for message, order, attempt in await _load(unit, messages):
        after = decided(attempt, MoneyDecision.ACCEPTED)
        settled = accept_money(order, settlement_by(attempt), event_id=message.envelope.event_id)
        if after == attempt:
            continue
        attempt_changes.append((attempt, after))
        order_changes.append((order, settled))
        tell_outcomes(unit, order, settled)
    await unit.orders.save(order_changes)
    await unit.attempts.save(attempt_changes)


async def reject(unit: Unit, messages: Sequence[Message[MoneyRejected]], *, clock: Clock) -> None:
    """Record that the money goes back: one refund per attempt, and an item until it is done.

    Told again it changes nothing. Raises Contradiction for money that was never unexpected, or
    was accepted before.
    """
    order_changes, attempt_changes, refunds = [], [], []
    for _, order, attempt in await _load(unit, messages):
        after = decided(attempt, MoneyDecision.REJECTED)
        if after == attempt:
            continue
        attempt_changes.append((attempt, after))
        order_changes.append((order, shown_anew(order)))
        refunds.append(refund_all(attempt, RefundReason.NOT_OWED, clock.now()))
    await unit.orders.save(order_changes)
    await unit.attempts.save(attempt_changes)
    await unit.refunds.request(refunds)
    await unit.open_items([refund_due(refund) for refund in refunds])


async def _load(
    unit: Unit, messages: Sequence[Message[MoneyAccepted]]
) -> list[tuple[Message[MoneyAccepted], PaymentOrder, PaymentAttempt]]:
    """Orders first, then attempts: the same lock order as everywhere."""
    orders = await unit.orders.lock([message.body.payment_order_id for message in messages])
    attempts = await unit.attempts.lock([message.body.attempt_id for message in messages])
    loaded = []
    for message in messages:
        order = orders.get(message.body.payment_order_id)
        attempt = attempts.get(message.body.attempt_id)
        if order is None or attempt is None or attempt.order_id != order.id:
            raise Contradiction(
                f"a decision on attempt {message.body.attempt_id} of order"
                f" {message.body.payment_order_id}, which do not exist together"
            )
        loaded.append((message, order, attempt))
    return loaded
