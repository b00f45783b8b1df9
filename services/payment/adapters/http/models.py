"""What payment's endpoints give."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from services.payment.adapters.postgres.views import OrderView
from services.payment.domain.channel import Capabilities
from services.payment.domain.payment_attempt import PaymentAttempt
from services.payment.domain.situation import standing_of
from services.payment.domain.status_text import describe
from services.payment.domain.way import is_payable
from shared.kernel.wording import Language, Wording
from shared.runtime.http.parts import Fen, Instant, StatusOut, Support

OrderStatusOut = Literal["requested", "settled", "failed", "refunded"]
AttemptStatusOut = Literal[
    "started", "awaiting_payer", "unknown", "succeeded", "declined", "closed"
]

# An order may name a channel that nobody runs any more, or never did.
UNKNOWN_CHANNEL = Wording(zh="原付款方式", en="the way you paid")


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportLine:
    """Whom people can call."""

    name: Wording
    phone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What turns an order into words for one person at one time."""

    channels: Mapping[str, Capabilities]
    support: SupportLine
    language: Language
    now: datetime
    stopped: Container[str] = ()
    # Those that this process can call, and that answered when they were called last.
    cashiers: Sequence[Capabilities] = ()

    def channel_name(self, channel_id: str) -> Wording:
        channel = self.channels.get(channel_id)
        return channel.name if channel else UNKNOWN_CHANNEL

    def is_payable(self, view: OrderView) -> bool:
        """Whether one of the channels would begin a payment now."""
        return is_payable(
            view.order, view.attempts, self.cashiers, stopped=self.stopped, now=self.now
        )


def status_out(view: OrderView, words: Words) -> StatusOut:
    """The status of an order in the words for one person."""
    order = view.order
    standing = standing_of(order, view.attempts, now=words.now, stopped=words.stopped)
    channel_id = standing.attempt.channel if standing.attempt else order.channel
    status = describe(
        order,
        standing,
        channel=words.channel_name(channel_id),
        language=words.language,
        now=words.now,
    )
    support = words.support
    return StatusOut(
        headline=status.headline,
        explanation=status.explanation,
        next_step=status.next_step,
        next_update_by=status.next_update_by,
        can_pay=status.can_pay and words.is_payable(view),
        can_retry=status.can_retry,
        support=Support(name=support.name.in_language(words.language), phone=support.phone),
    )


class AttemptOut(BaseModel):
    """One try at a channel."""

    id: UUID
    channel: str
    status: AttemptStatusOut
    started_at: Instant

    @classmethod
    def of(cls, attempt: PaymentAttempt) -> Self:
        return cls.model_validate(
            {
                "id": attempt.id,
                "channel": attempt.channel,
                "status": attempt.status.value.lower(),
                "started_at": attempt.created_at,
            }
        )


class OrderOut(BaseModel):
    """A payment order; `version` moves with everything that is shown of it but the time."""

    id: UUID
    contribution_id: UUID
    amount_fen: Fen
    currency: str
    channel: str
    status: OrderStatusOut
    reason: Annotated[str | None, Field(description="Why it failed")]
    status_for_person: StatusOut
    attempts: list[AttemptOut]
    version: int
    opened_at: Instant
    expires_at: Instant
    settled_at: Instant | None

    @classmethod
    def of(cls, view: OrderView, words: Words) -> Self:
        order = view.order
        is_failed = order.settlement is None and order.reason is not None
        return cls.model_validate(
            {
                "id": order.id,
                "contribution_id": order.contribution_id,
                "amount_fen": order.amount.fen,
                "currency": order.currency,
                "channel": order.channel,
                "status": order.status.value.lower(),
                "reason": order.reason if is_failed else None,
                "status_for_person": status_out(view, words),
                "attempts": [AttemptOut.of(attempt) for attempt in view.attempts],
                "version": order.version,
                "opened_at": order.opened_at,
                "expires_at": order.expires_at,
                "settled_at": order.settlement.settled_at if order.settlement else None,
            }
        )


class StreamTicket(BaseModel):
    """One use; `expires_in` seconds."""

    ticket: str
    expires_in: int
