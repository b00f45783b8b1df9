"""A channel in memory with its own book and the sandbox's faults; passes the same contract."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from services.payment.application.ports import DueAttempt
from services.payment.domain.channel import Capabilities
from services.payment.domain.channel_answer import (
    ChannelAnswer,
    Declined,
    NotThere,
    Succeeded,
    Unknown,
    UnknownCause,
)
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.payment_attempt import Call, PaymentAttempt
from services.payment.tests.building import BANK
from shared.kernel.clock import Clock, SystemClock
from shared.kernel.money import Money


@dataclass(slots=True)
class Fault:
    kind: str
    on: Call
    left: int


@dataclass(slots=True, kw_only=True)
class FakeChannel:
    """Books by attempt number, once. `take_instead` makes it take another amount than asked."""

    capabilities: Capabilities = BANK
    clock: Clock = field(default_factory=SystemClock)
    take_instead: Money | None = None
    book: dict[str, ChannelAnswer] = field(default_factory=dict)
    sends: Counter[str] = field(default_factory=Counter)
    queries: Counter[str] = field(default_factory=Counter)
    calls: list[tuple[Call, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    gate: asyncio.Event | None = None
    in_flight: int = 0
    most_in_flight: int = 0

    def inject(self, kind: str, *, on: Call = Call.START, count: int = 1) -> None:
        self.faults.append(Fault(kind, on, count))

    async def start(self, due: DueAttempt) -> ChannelAnswer:
        self.sends[due.attempt.number] += 1
        return await self._answer(Call.START, due.attempt)

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        self.queries[due.attempt.number] += 1
        return await self._answer(Call.QUERY, due.attempt)

    @property
    def charged(self) -> Counter[str]:
        """Attempt numbers by how often money was taken."""
        return Counter(
            number for number, answer in self.book.items() if isinstance(answer, Succeeded)
        )

    async def _answer(self, call: Call, attempt: PaymentAttempt) -> ChannelAnswer:
        self.calls.append((call, attempt.number))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await (self.gate.wait() if self.gate else asyncio.sleep(0))
            return await self._work(call, attempt)
        finally:
            self.in_flight -= 1

    async def _work(self, call: Call, attempt: PaymentAttempt) -> ChannelAnswer:
        if self._fires("error_500", call):
            return Unknown(UnknownCause.SERVER_ERROR)
        if self._fires("timeout_before_booking", call):
            return Unknown(UnknownCause.TIMEOUT)
        answer = self._book_charge(attempt) if call is Call.START else self._find(attempt)
        if self._fires("hang_after_booking", call):
            await asyncio.sleep(3600)
        if self._fires("timeout_after_booking", call):
            return Unknown(UnknownCause.TIMEOUT)
        if self._fires("error_500_after_booking", call):
            return Unknown(UnknownCause.SERVER_ERROR)
        return answer

    def _book_charge(self, attempt: PaymentAttempt) -> ChannelAnswer:
        if attempt.number not in self.book:
            self.book[attempt.number] = self._decide(attempt)
        return self.book[attempt.number]

    def _decide(self, attempt: PaymentAttempt) -> ChannelAnswer:
        if attempt.expires_at <= self.clock.now():
            return Declined(FailureReason.EXPIRED)
        if self._fires("decline", Call.START):
            return Declined(FailureReason.INSUFFICIENT_FUNDS)
        taken = self.take_instead or attempt.amount
        return Succeeded(f"T{len(self.book)}", taken, self.clock.now())

    def _find(self, attempt: PaymentAttempt) -> ChannelAnswer:
        return self.book.get(attempt.number, NotThere())

    def _fires(self, kind: str, call: Call) -> bool:
        for fault in self.faults:
            if fault.kind == kind and fault.on is call and fault.left > 0:
                fault.left -= 1
                return True
        return False
