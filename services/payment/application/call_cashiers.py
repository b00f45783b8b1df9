"""Calls to cashiers that a person waits for: lease first, then the call, then the record."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID, uuid4

from services.payment.application.ask_channels import ask
from services.payment.application.ports import (
    CashierChannel,
    Channels,
    DueAttempt,
    PayerDetails,
    Transactions,
    Unit,
)
from services.payment.application.record_calls import Given, record_calls
from services.payment.domain.next_action import OrderedOtherwise, Started
from services.payment.domain.payment_attempt import Call
from shared.kernel.clock import Clock
from shared.kernel.leased_calls import Limits, Silence, call_in_time


@dataclass(frozen=True, slots=True, kw_only=True)
class CashierCalls:
    """Calls to cashiers that a person waits for. No transaction is open during a call."""

    transactions: Transactions
    channels: Channels
    clock: Clock
    limits: Limits = field(default_factory=Limits)

    async def take(self, unit: Unit, attempt_id: UUID, *, call: Call) -> DueAttempt | None:
        """The attempt under a lease, as a start or a query; None where somebody else has it."""
        return await unit.cashier_attempts.take(
            attempt_id,
            sends=call is Call.START,
            now=self.clock.now(),
            lease=uuid4(),
            lease_time=self.limits.lease_time,
        )

    async def start(
        self, due: DueAttempt, payer: PayerDetails
    ) -> Started | OrderedOtherwise | None:
        """Start, or start again, and record what the channel said; None where it gave no page."""
        channel = self.channels.get(due.attempt.channel)
        if not isinstance(channel, CashierChannel):
            return None
        given = await self._call(due, partial(channel.start, payer=payer))
        return given if isinstance(given, Started | OrderedOtherwise) else None

    async def close(self, due: DueAttempt) -> None:
        """Ask, close where nothing was paid, and record what the channel said."""
        channel = self.channels.get(due.attempt.channel)
        if channel is None:
            return
        await self._call(due, partial(ask, channel, now=self.clock.now()))

    async def _call(
        self, due: DueAttempt, call: Callable[[DueAttempt], Awaitable[Given]]
    ) -> Given | Silence:
        ended = await call_in_time(
            due,
            call,
            seconds=self.limits.call_timeout_seconds,
            clock=self.clock,
            subject=f"attempt {due.attempt.id} at {due.attempt.channel}",
        )
        await record_calls(self.transactions, [ended], channels=self.channels, clock=self.clock)
        return ended.answer
