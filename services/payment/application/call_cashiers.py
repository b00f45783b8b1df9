"""Calls to cashiers that a person waits for: lease first, then the call, then the record."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
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
from services.payment.application.record_outcomes import Answered, record_outcomes
from services.payment.application.run_attempts import Limits
from services.payment.domain.channel_answer import (
    AwaitingPayer,
    ChannelAnswer,
    Unknown,
    UnknownCause,
)
from services.payment.domain.next_action import Started
from services.payment.domain.payment_attempt import Call
from shared.kernel.clock import Clock

log = logging.getLogger(__name__)

Told = TypeVar("Told", bound=ChannelAnswer | Started)


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
            lease_time=timedelta(seconds=self.limits.lease_seconds),
        )

    async def start(self, due: DueAttempt, payer: PayerDetails) -> Started | None:
        """Start, or start again, and record what the channel said; None where it gave no page."""
        channel = self.channels.get(due.attempt.channel)
        if not isinstance(channel, CashierChannel):
            return None
        asked_at = self.clock.now()
        answer = await self._in_time(channel.start(due, payer), due)
        recorded = AwaitingPayer() if isinstance(answer, Started) else answer
        await self._record(due, recorded, call=Call.START, asked_at=asked_at)
        return answer if isinstance(answer, Started) else None

    async def close(self, due: DueAttempt) -> None:
        """Ask, close where nothing was paid, and record what the channel said."""
        channel = self.channels.get(due.attempt.channel)
        if channel is None:
            return
        asked_at = self.clock.now()
        answer = await self._in_time(ask(channel, due, now=asked_at), due)
        await self._record(due, answer, call=Call.QUERY, asked_at=asked_at)

    async def _in_time(self, calling: Awaitable[Told], due: DueAttempt) -> Told | Unknown:
        try:
            async with asyncio.timeout(self.limits.call_timeout_seconds):
                return await calling
        except TimeoutError:
            return Unknown(UnknownCause.TIMEOUT)
        except Exception:
            log.exception("channel %s raised instead of answering", due.attempt.channel)
            return Unknown(UnknownCause.NONSENSE)

    async def _record(
        self, due: DueAttempt, answer: ChannelAnswer, *, call: Call, asked_at: datetime
    ) -> None:
        answered = Answered(
            order_id=due.attempt.order_id,
            attempt_id=due.attempt.id,
            lease=due.lease,
            call=call,
            answer=answer,
            asked_at=asked_at,
        )
        async with self.transactions() as unit:
            await record_outcomes(unit, [answered], channels=self.channels, now=self.clock.now())
