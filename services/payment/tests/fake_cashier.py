"""A cashier channel in memory: its book, the payer at its page, and its notifications."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

from services.payment.application.ports import DueAttempt, PayerDetails
from services.payment.domain.channel import Capabilities
from services.payment.domain.channel_answer import (
    AwaitingPayer,
    ChannelAnswer,
    Closed,
    Declined,
    NotThere,
    Succeeded,
    Unknown,
    UnknownCause,
)
from services.payment.domain.channel_notification import (
    ChannelReply,
    NotificationRefused,
    RawNotification,
    RefusalReason,
    VerifiedNotification,
)
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.next_action import OrderedOtherwise, Redirect, StartAnswer, Started
from services.payment.domain.payment_attempt import Call
from services.payment.tests.building import CASHIER
from shared.kernel.clock import Clock, SystemClock
from shared.kernel.money import Money

SIGNED = "truly"


@dataclass(slots=True, kw_only=True)
class FakeCashier:
    """Opens an order at its first start, or only when the payer comes (`opens_late`)."""

    capabilities: Capabilities = CASHIER
    clock: Clock = field(default_factory=SystemClock)
    opens_late: bool = False
    book: dict[str, ChannelAnswer] = field(default_factory=dict)
    amounts: dict[str, Money] = field(default_factory=dict)
    calls: list[tuple[Call, str]] = field(default_factory=list)
    payers: list[PayerDetails] = field(default_factory=list)
    # What came with the first request that opened a number: it must be the same again.
    openids: dict[str, str | None] = field(default_factory=dict)
    faults: Counter[tuple[str, Call]] = field(default_factory=Counter)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None

    def inject(self, kind: str, *, on: Call, count: int = 1) -> None:
        """`unknown`, `unknown_after` (it happened, the answer is lost) or `decline`."""
        self.faults[kind, on] += count

    def pay(self, number: str, *, amount: Money | None = None) -> Succeeded:
        """The payer confirms at the cashier's page, whatever the book says."""
        paid = Succeeded(f"T{number}", amount or self.amounts[number], self.clock.now())
        self.book[number] = paid
        return paid

    def notification(
        self, number: str, answer: Succeeded | None = None, *, notification_id: str | None = None
    ) -> RawNotification:
        """What the channel sends; without an answer a truthful message that moves nothing."""
        return signed(
            {
                "id": notification_id or uuid4().hex,
                "attempt": number,
                "trade_no": answer.trade_no if answer else None,
                "amount_fen": answer.amount.fen if answer else None,
                "at": (answer.at if answer else self.clock.now()).isoformat(),
            }
        )

    async def start(self, due: DueAttempt, payer: PayerDetails) -> StartAnswer:
        number = due.attempt.number
        self.calls.append((Call.START, number))
        self.payers.append(payer)
        self.called.set()
        if self.gate is not None:
            await self.gate.wait()
        if self._fires("unknown", Call.START):
            return Unknown(UnknownCause.TIMEOUT)
        if self._fires("decline", Call.START):
            return Declined(FailureReason.REJECTED)
        if self.openids.setdefault(number, payer.openid) != payer.openid:
            return OrderedOtherwise()
        self.amounts[number] = due.attempt.amount
        if not self.opens_late:
            self.book.setdefault(number, AwaitingPayer())
        if self._fires("unknown_after", Call.START):
            return Unknown(UnknownCause.TIMEOUT)
        url = f"https://cashier.invalid/{number}"
        return Started(Redirect(url), self.clock.now() + timedelta(minutes=5))

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        self.calls.append((Call.QUERY, due.attempt.number))
        if self._fires("unknown", Call.QUERY):
            return Unknown(UnknownCause.TIMEOUT)
        return self.book.get(due.attempt.number, NotThere())

    async def close(self, due: DueAttempt) -> ChannelAnswer:
        number = due.attempt.number
        self.calls.append((Call.CLOSE, number))
        if self._fires("unknown", Call.CLOSE):
            return Unknown(UnknownCause.TIMEOUT)
        known = self.book.get(number, NotThere())
        if isinstance(known, AwaitingPayer):
            self.book[number] = known = Closed()
        return Unknown(UnknownCause.TIMEOUT) if self._fires("unknown_after", Call.CLOSE) else known

    def verify(self, notification: RawNotification) -> VerifiedNotification:
        if notification.headers.get("x-signature") != SIGNED:
            raise NotificationRefused(RefusalReason.SIGNATURE)
        try:
            told = json.loads(notification.body)
            at = datetime.fromisoformat(told["at"])
            answer = None
            if told["trade_no"] is not None:
                answer = Succeeded(told["trade_no"], Money(told["amount_fen"]), at)
            return VerifiedNotification(told["id"], told["attempt"], answer, at)
        except (ValueError, KeyError, TypeError):
            raise NotificationRefused(RefusalReason.MALFORMED) from None

    @property
    def acknowledgement(self) -> ChannelReply:
        return ChannelReply(200, "text/plain", b"success")

    def refusal(self, reason: RefusalReason) -> ChannelReply:
        status = 503 if reason is RefusalReason.UNAVAILABLE else 400
        return ChannelReply(status, "text/plain", b"fail")

    def _fires(self, kind: str, call: Call) -> bool:
        if self.faults[kind, call] <= 0:
            return False
        self.faults[kind, call] -= 1
        return True


def signed(told: dict[str, object]) -> RawNotification:
    """Any content under the signature that this channel believes."""
    return RawNotification({"x-signature": SIGNED}, json.dumps(told).encode())
