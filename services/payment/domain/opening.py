"""Opening an order: its first state, and whether an attempt starts by itself."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.payment.domain import payment_order
from services.payment.domain.channel import Capabilities, ChannelKind
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.payment_attempt import AttemptStatus, Call, PaymentAttempt
from services.payment.domain.payment_order import OrderStatus, PaymentOrder
from shared.kernel.errors import Malformed
from shared.kernel.events import PaymentRequested
from shared.kernel.money import CURRENCY, Money


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What the envelope of the opening event tells: its order, its thread and its cause."""

    sequence: int
    correlation_id: UUID
    causation_id: UUID


class Opening(msgspec.Struct, frozen=True):
    order: PaymentOrder
    attempt: PaymentAttempt | None


def open_order(
    request: PaymentRequested,
    *,
    origin: Origin,
    channel_id: str,
    channel: Capabilities | None,
    attempt_id: UUID,
    now: datetime,
) -> Opening:
    """Open the order, with its first attempt where the channel is direct.

    After its expiry, or where the channel cannot take the amount or the region, it fails without
    an attempt: nothing was sent, so nothing was charged. `CHOSEN_BY_PAYER` waits for the payer's
    choice.
    Raises Malformed for another currency or no money.
    """
    order = _order(request, origin=origin, channel_id=channel_id, now=now)
    if now >= request.expires_at:
        return Opening(payment_order.fail(order, FailureReason.EXPIRED), None)
    if channel_id == payment_order.CHOSEN_BY_PAYER:
        return Opening(order, None)
    if channel is None or not channel.takes(order.amount) or not channel.serves(order.region):
        return Opening(payment_order.fail(order, FailureReason.CHANNEL_UNAVAILABLE), None)
    if channel.kind is not ChannelKind.DIRECT:
        return Opening(order, None)
    due_at = channel.debit_window.first_at(now) if channel.debit_window else now
    if due_at >= request.expires_at:
        # Nobody may be debited before the order is over.
        return Opening(payment_order.fail(order, FailureReason.CHANNEL_UNAVAILABLE), None)
    attempt = first_attempt(order, attempt_id=attempt_id, now=now)
    return Opening(order, replace(attempt, due_at=due_at))


def first_attempt(order: PaymentOrder, *, attempt_id: UUID, now: datetime) -> PaymentAttempt:
    """One try at the order's channel, due at once and sent by the loop."""
    return PaymentAttempt(
        id=attempt_id,
        order_id=order.id,
        channel=order.channel,
        amount=order.amount,
        status=AttemptStatus.STARTED,
        version=1,
        expires_at=order.expires_at,
        created_at=now,
        next_call=Call.START,
        due_at=now,
    )


def is_due(opening: Opening, now: datetime) -> bool:
    """Whether it has an attempt whose first send is due."""
    attempt = opening.attempt
    return attempt is not None and attempt.due_at is not None and attempt.due_at <= now


def lease(opening: Opening, owner: UUID, *, now: datetime) -> Opening:
    """The opening with its attempt under a lease for the first send, which counts as sent.

    Whoever finds it after a crash must ask first, as after a claim.
    """
    assert opening.attempt is not None
    sent = replace(
        opening.attempt, lease_owner=owner, next_call=Call.QUERY, send_count=1, first_sent_at=now
    )
    return Opening(opening.order, sent)


def _order(
    request: PaymentRequested, *, origin: Origin, channel_id: str, now: datetime
) -> PaymentOrder:
    if request.currency != CURRENCY or request.amount_fen == 0:
        raise Malformed(f"an order of {request.amount_fen} fen in {request.currency[:8]!r}")
    return PaymentOrder(
        id=request.payment_order_id,
        contribution_id=request.contribution_id,
        insured_person_id=request.insured_person_id,
        payer_id=request.payer_id,
        amount=Money(request.amount_fen),
        currency=request.currency,
        scheme=request.scheme,
        region=request.region,
        period=request.period,
        channel=channel_id,
        status=OrderStatus.REQUESTED,
        version=1,
        expires_at=request.expires_at,
        opened_at=now,
        correlation_id=origin.correlation_id,
        causation_id=origin.causation_id,
        last_ask_sequence=origin.sequence,
    )
