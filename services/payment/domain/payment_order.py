"""The payment order: the instruction to collect one amount once."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.payment.domain.failure_reason import FailureReason
from shared.kernel import events
from shared.kernel.errors import Contradiction
from shared.kernel.money import Money
from shared.kernel.transitions import Move, Transitions


class OrderStatus(StrEnum):
    REQUESTED = "REQUESTED"
    SETTLED = "SETTLED"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"


# Stands for the channel of an order whose payer has yet to choose one.
CHOSEN_BY_PAYER = events.CHOSEN_BY_PAYER

S = OrderStatus
ORDER_TRANSITIONS = Transitions(
    "payment_order",
    OrderStatus,
    S.REQUESTED,
    (
        Move(S.REQUESTED, S.SETTLED, "an attempt succeeded with the exact amount"),
        Move(S.REQUESTED, S.FAILED, "declined, closed or expired at the channel, or wrong amount"),
        Move(S.FAILED, S.SETTLED, "MoneyAccepted: late money pays the contribution"),
        Move(S.SETTLED, S.REFUNDED, "all money went back"),
    ),
)


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The final confirmation that the money was received.

    `asked_at`, `confirmed_at`: from when to when only the channel could act, where that is known.
    """

    attempt_id: UUID
    channel: str
    channel_trade_no: str
    settled_at: datetime
    asked_at: datetime | None = None
    confirmed_at: datetime | None = None


class PaymentOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order. `version` moves with everything that people can see of it, attempts included;

    the version at which it failed or settled is the sequence of that outcome's event.
    """

    id: UUID
    contribution_id: UUID
    insured_person_id: UUID
    payer_id: UUID
    amount: Money
    currency: str
    scheme: str
    region: str
    period: str
    channel: str
    status: OrderStatus
    version: int
    expires_at: datetime
    opened_at: datetime
    correlation_id: UUID
    causation_id: UUID
    last_ask_sequence: int
    reason: FailureReason | None = None
    failed_version: int | None = None
    settlement: Settlement | None = None
    settled_version: int | None = None
    accepted_event_id: UUID | None = None

    @property
    def is_open(self) -> bool:
        return self.status is OrderStatus.REQUESTED

    @property
    def was_late(self) -> bool:
        """Settled after it had failed: the money came late and was still owed."""
        return self.settlement is not None and self.failed_version is not None


def fail(order: PaymentOrder, reason: FailureReason) -> PaymentOrder:
    """Stop collecting. Raises Contradiction unless the order is open."""
    version = order.version + 1
    return replace(
        order,
        status=ORDER_TRANSITIONS.check(order.status, OrderStatus.FAILED, order.id),
        version=version,
        reason=reason,
        failed_version=version,
    )


def settle(order: PaymentOrder, settlement: Settlement) -> PaymentOrder:
    """Record the final receipt for an open order. Raises Contradiction for any other.

    A failed order settles only through `accept_money`, however surely its money came.
    """
    if not order.is_open:
        raise Contradiction(f"payment_order {order.id} is {order.status}, not open for settlement")
    return _settled(order, settlement)


def accept_money(order: PaymentOrder, settlement: Settlement, *, event_id: UUID) -> PaymentOrder:
    """Billing said that late money pays the contribution: the failed order settles by it.

    Told again it changes nothing. Raises Contradiction where the order is open, or was settled
    by another attempt.
    """
    if order.settlement is not None and order.settlement.attempt_id == settlement.attempt_id:
        return order
    if order.status is not OrderStatus.FAILED:
        raise Contradiction(f"money was accepted for payment_order {order.id} in {order.status}")
    return replace(_settled(order, settlement), accepted_event_id=event_id)


def ask_again(order: PaymentOrder, sequence: int) -> PaymentOrder | None:
    """The order after an ask with this sequence, or None where a later one was applied."""
    if sequence <= order.last_ask_sequence:
        return None
    return replace(order, last_ask_sequence=sequence)


def shown_anew(order: PaymentOrder) -> PaymentOrder:
    """Something that people see of the order changed, though not its own status."""
    return replace(order, version=order.version + 1)


def _settled(order: PaymentOrder, settlement: Settlement) -> PaymentOrder:
    version = order.version + 1
    return replace(
        order,
        status=ORDER_TRANSITIONS.check(order.status, OrderStatus.SETTLED, order.id),
        version=version,
        settlement=settlement,
        settled_version=version,
    )
