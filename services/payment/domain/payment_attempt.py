"""The payment attempt: one try at one channel, under one order number of ours."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.payment.domain.failure_reason import FailureReason
from shared.kernel.errors import Contradiction
from shared.kernel.money import Money
from shared.kernel.transitions import Move, Transitions


class AttemptStatus(StrEnum):
    STARTED = "STARTED"
    AWAITING_PAYER = "AWAITING_PAYER"
    UNKNOWN = "UNKNOWN"
    SUCCEEDED = "SUCCEEDED"
    DECLINED = "DECLINED"
    CLOSED = "CLOSED"


S = AttemptStatus
ATTEMPT_TRANSITIONS = Transitions(
    "payment_attempt",
    AttemptStatus,
    S.STARTED,
    (
        Move(S.STARTED, S.AWAITING_PAYER, "the channel waits for the payer"),
        Move(S.STARTED, S.SUCCEEDED, "the channel received the money"),
        Move(S.STARTED, S.DECLINED, "the channel refused"),
        Move(S.STARTED, S.CLOSED, "never sent, closed there, or not there twice when over"),
        Move(S.STARTED, S.UNKNOWN, "time-out, error or nonsense"),
        Move(S.AWAITING_PAYER, S.SUCCEEDED, "the channel received the money"),
        Move(S.AWAITING_PAYER, S.DECLINED, "the channel refused"),
        Move(S.AWAITING_PAYER, S.CLOSED, "closed at the channel, or not there twice when over"),
        Move(S.AWAITING_PAYER, S.UNKNOWN, "time-out, error or nonsense"),
        Move(S.UNKNOWN, S.AWAITING_PAYER, "a query says waiting"),
        Move(S.UNKNOWN, S.SUCCEEDED, "a query or notification says received"),
        Move(S.UNKNOWN, S.DECLINED, "a query says refused"),
        Move(S.UNKNOWN, S.CLOSED, "closed at the channel, or not there twice when over"),
        Move(S.DECLINED, S.SUCCEEDED, "late money"),
        Move(S.CLOSED, S.SUCCEEDED, "late money"),
    ),
)
OPEN_STATUSES = frozenset({S.STARTED, S.AWAITING_PAYER, S.UNKNOWN})


class Call(StrEnum):
    """How an answer about an attempt is obtained.

    What is stored as next is START or QUERY: closing always begins with a query, and
    a notification comes by itself.
    """

    START = "start"
    QUERY = "query"
    CLOSE = "close"
    NOTIFICATION = "notification"


class MoneyDecision(StrEnum):
    """What billing said about unexpected money."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"


class PaymentAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. Its id, as 32 hexadecimal characters, is the order number at the channel.

    `next_call` becomes QUERY in the commit before a send, so that whoever finds the row after
    a crash asks first. `due_at` is None where nothing is left to do. `received` is what the
    channel said it took, right amount or not. `method` is the way a payer opened the cashier.
    `close_wanted_at`: since when nobody shall pay by it any more. `asked_at`: when the payer
    last came back and wanted to know. `ended_at`: when it was declined or closed.
    `last_not_there_at`: when the channel last did not know it, if it never did since.
    """

    id: UUID
    order_id: UUID
    channel: str
    amount: Money
    status: AttemptStatus
    version: int
    expires_at: datetime
    created_at: datetime
    next_call: Call
    due_at: datetime | None
    lease_owner: UUID | None = None
    send_count: int = 0
    first_sent_at: datetime | None = None
    query_count: int = 0
    unknown_since: datetime | None = None
    promised_until: datetime | None = None
    not_there_count: int = 0
    last_not_there_at: datetime | None = None
    trade_no: str | None = None
    received: Money | None = None
    succeeded_at: datetime | None = None
    reason: FailureReason | None = None
    unexpected_sequence: int = 0
    decision: MoneyDecision | None = None
    method: str | None = None
    close_wanted_at: datetime | None = None
    asked_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def number(self) -> str:
        """The order number at the channel."""
        return self.id.hex

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def is_direct(self) -> bool:
        """Charged by us, without a cashier and its payer."""
        return self.method is None

    @property
    def is_absent(self) -> bool:
        """The channel does not know it, as far as was heard last: nobody opened its page."""
        waits = self.status in (AttemptStatus.STARTED, AttemptStatus.AWAITING_PAYER)
        return waits and self.last_not_there_at is not None

    @property
    def may_have_paid(self) -> bool:
        """Whether its money may be on its way, though nobody knows."""
        return self.is_open and (self.is_direct or self.status is AttemptStatus.UNKNOWN)

    def waits_for_debit(self, now: datetime) -> bool:
        """Announced, and not sent before its time."""
        return self.send_count == 0 and self.due_at is not None and self.due_at > now

    @property
    def debited_since(self) -> datetime:
        """Since when the channel's answer is awaited."""
        return max(self.created_at, self.first_sent_at or self.created_at)

    def is_asked_since(self, instant: datetime) -> bool:
        """Whether the payer came back after this instant and wanted to know."""
        return self.asked_at is not None and self.asked_at > instant

    def shall_close(self, now: datetime) -> bool:
        """Whether the channel must be told to take no money by this attempt any more.

        One that ended is told again, should the channel still wait for its payer.
        """
        if self.is_open:
            return self.close_wanted_at is not None or now >= self.expires_at
        return self.status is not AttemptStatus.SUCCEEDED

    @property
    def may_be_paid_late(self) -> bool:
        """Whether its end excludes no money: it was sent, and no bank refused that very debit."""
        is_refused_debit = self.is_direct and self.status is AttemptStatus.DECLINED
        return self.send_count > 0 and not self.is_open and not is_refused_debit

    @property
    def awaits_decision(self) -> bool:
        """Holds unexpected money about which billing has not yet decided."""
        return self.unexpected_sequence > 0 and self.decision is None


def decided(attempt: PaymentAttempt, decision: MoneyDecision) -> PaymentAttempt:
    """The attempt after billing's word on its unexpected money; the same word again: unchanged.

    Raises Contradiction for money that was never unexpected, or for the other word.
    """
    if attempt.decision is decision:
        return attempt
    if not attempt.awaits_decision:
        raise Contradiction(
            f"attempt {attempt.id} ({attempt.status}, decision {attempt.decision}) cannot be"
            f" decided as {decision}"
        )
    return replace(attempt, decision=decision, due_at=None, version=attempt.version + 1)
