"""One order of payment's, and the facts that payment tells about it."""

from typing import Any

from services.billing.domain.contribution import Contribution
from services.billing.domain.payment_request import PaymentRequest
from services.billing.tests.running_billing import Billing
from shared.kernel.events import Event, Message, MoneyAccepted
from shared.kernel.ids import new_id
from testing.builders import (
    message,
    payment_failed,
    payment_refunded,
    payment_settled,
    unexpected_money_received,
)

Fact = Message[Any]


class Order:
    """Facts of the order carry its version as sequence, those of money the attempt's."""

    def __init__(self, contribution: Contribution, request: PaymentRequest) -> None:
        self.contribution_id = contribution.id
        self.person_id = contribution.insured_person_id
        self.id = request.payment_order_id
        self.amount = request.amount
        self.attempt_id = new_id()
        self.second_attempt_id = new_id()
        self.refund_id = new_id()

    def settled(self, sequence: int = 2, **fields: Any) -> Fact:
        attempt = {"attempt_id": self.attempt_id}
        return message(payment_settled(**self._ids() | attempt | fields), sequence=sequence)

    def failed(self, sequence: int = 2, **fields: Any) -> Fact:
        body = payment_failed(**self._ids() | {"reason": "expired"} | fields)
        return message(body, sequence=sequence)

    def unexpected(self, sequence: int = 1, **fields: Any) -> Fact:
        attempt = {"attempt_id": self.attempt_id}
        body = unexpected_money_received(**self._ids() | attempt | fields)
        return message(body, sequence=sequence)

    def refunded(self, **fields: Any) -> Fact:
        refund = {"attempt_id": self.attempt_id, "refund_id": self.refund_id}
        return message(payment_refunded(**self._ids() | refund | fields), sequence=2)

    def _ids(self) -> dict[str, Any]:
        return {
            "payment_order_id": self.id,
            "contribution_id": self.contribution_id,
            "insured_person_id": self.person_id,
            "payer_id": self.person_id,
            "amount_fen": self.amount.fen,
        }


async def open_order(billing: Billing) -> Order:
    """A new person's contribution, waiting for a new order."""
    return Order(*await billing.requested())


async def next_order(billing: Billing, earlier: Order) -> Order:
    """A further order for the same contribution."""
    contribution = await billing.contribution(earlier.contribution_id)
    return Order(contribution, await billing.request(contribution))


async def decisions_told(billing: Billing, order: Order) -> list[Message[Event]]:
    """MoneyAccepted and MoneyRejected in the outbox."""
    told = await billing.told(order.person_id)
    return [event for event in told if isinstance(event.body, MoneyAccepted)]
