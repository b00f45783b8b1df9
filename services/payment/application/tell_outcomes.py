"""The events of payment, built from rows alone, so that each can be told again identically."""

from collections.abc import Sequence

from services.payment.application.ports import Unit
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.payment_attempt import PaymentAttempt
from services.payment.domain.payment_order import CHOSEN_BY_PAYER, PaymentOrder
from shared.kernel.events import (
    PaymentDelayed,
    PaymentFailed,
    PaymentSettled,
    UnexpectedMoneyReceived,
)
from shared.kernel.ids import event_id


def tell_outcomes(unit: Unit, before: PaymentOrder | None, after: PaymentOrder) -> None:
    """Emit the outcomes that `after` has and `before` had not."""
    if after.failed_version and (before is None or before.failed_version is None):
        _tell_failed(unit, after)
    if after.settled_version and (before is None or before.settled_version is None):
        _tell_settled(unit, after)


def tell_delay(unit: Unit, order: PaymentOrder, attempt: PaymentAttempt) -> None:
    """Tell that the promised time passed without an outcome, and by when the next news come.

    Its sequence is the order's version, which moves with every promise that people can see.
    """
    assert attempt.promised_until is not None
    body = PaymentDelayed(
        insured_person_id=order.insured_person_id,
        payment_order_id=order.id,
        contribution_id=order.contribution_id,
        payer_id=order.payer_id,
        amount_fen=attempt.amount.fen,
        currency=order.currency,
        attempt_id=attempt.id,
        channel=attempt.channel,
        next_update_by=attempt.promised_until,
        region=order.region,
        asked_at=attempt.first_sent_at,
    )
    unit.emit(
        body,
        subject=order.id,
        sequence=order.version,
        correlation_id=order.correlation_id,
        causation_id=order.causation_id,
    )


def tell_unexpected_money(unit: Unit, order: PaymentOrder, attempt: PaymentAttempt) -> None:
    """Tell billing that this attempt brought money its order cannot take; each time anew."""
    body = UnexpectedMoneyReceived(
        insured_person_id=order.insured_person_id,
        payment_order_id=order.id,
        contribution_id=order.contribution_id,
        payer_id=order.payer_id,
        attempt_id=attempt.id,
        amount_fen=attempt.amount.fen,
        currency=order.currency,
        channel=attempt.channel,
    )
    unit.emit(
        body,
        subject=attempt.id,
        sequence=attempt.unexpected_sequence,
        correlation_id=order.correlation_id,
        causation_id=order.causation_id,
    )


async def repeat_outcomes(unit: Unit, orders: Sequence[PaymentOrder]) -> None:
    """Tell the outcomes of finished orders again with their original ids and bodies.

    What retention has removed from the outbox is emitted once more from the row.
    """
    failed = {
        event_id(PaymentFailed.type, order.id, order.failed_version): order
        for order in orders
        if order.failed_version is not None
    }
    settled = {
        event_id(PaymentSettled.type, order.id, order.settled_version): order
        for order in orders
        if order.settled_version is not None
    }
    removed = await unit.repeat([*failed, *settled])
    for outcome, order in failed.items():
        if outcome in removed:
            _tell_failed(unit, order)
    for outcome, order in settled.items():
        if outcome in removed:
            _tell_settled(unit, order)


def _tell_failed(unit: Unit, order: PaymentOrder) -> None:
    assert order.failed_version is not None
    reason = order.reason or FailureReason.REJECTED
    body = PaymentFailed(
        insured_person_id=order.insured_person_id,
        payment_order_id=order.id,
        contribution_id=order.contribution_id,
        payer_id=order.payer_id,
        amount_fen=order.amount.fen,
        currency=order.currency,
        reason=reason.value,
        can_retry=reason.can_retry,
        channel=None if order.channel == CHOSEN_BY_PAYER else order.channel,
        region=order.region,
    )
    unit.emit(
        body,
        subject=order.id,
        sequence=order.failed_version,
        correlation_id=order.correlation_id,
        causation_id=order.causation_id,
    )


def _tell_settled(unit: Unit, order: PaymentOrder) -> None:
    assert order.settled_version is not None
    assert order.settlement is not None
    body = PaymentSettled(
        insured_person_id=order.insured_person_id,
        payment_order_id=order.id,
        contribution_id=order.contribution_id,
        payer_id=order.payer_id,
        amount_fen=order.amount.fen,
        currency=order.currency,
        attempt_id=order.settlement.attempt_id,
        channel=order.settlement.channel,
        channel_trade_no=order.settlement.channel_trade_no,
        settled_at=order.settlement.settled_at,
        region=order.region,
        asked_at=order.settlement.asked_at,
        confirmed_at=order.settlement.confirmed_at,
    )
    unit.emit(
        body,
        subject=order.id,
        sequence=order.settled_version,
        correlation_id=order.correlation_id,
        causation_id=order.accepted_event_id or order.causation_id,
    )
