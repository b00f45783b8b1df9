"""Run due attempts: first try, retry, late asks and recovery after a crash are this one loop."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from services.payment.application.ask_channels import ask
from services.payment.application.ports import Channels, DueAttempt, Statements, Transactions
from services.payment.application.record_calls import Given, record_calls
from services.payment.domain.channel_answer import Answer, NeverSent, Unknown, UnknownCause
from shared.kernel.clock import Clock
from shared.kernel.leased_calls import Ended, LeasedCalls, Limits, Reservation

log = logging.getLogger(__name__)

# Late asks hurry nobody: they leave channels and connections to those who wait.
LATE_CALLS = 2


@dataclass(slots=True, kw_only=True)
class AttemptRunner:
    """Asks channels about due attempts, as leased calls.

    Those that are open, or with `asks_late` those that ended and may have been paid since: in a
    runner of their own, so that they never stand before the others.

    `claims` opens units for one statement each: a claim is nothing else.
    """

    transactions: Transactions
    claims: Statements
    channels: Channels
    clock: Clock
    is_transient: Callable[[BaseException], bool]
    limits: Limits = field(default_factory=Limits)
    asks_late: bool = False
    calls: LeasedCalls[DueAttempt, Given] = field(init=False)

    def __post_init__(self) -> None:
        self.calls = LeasedCalls(
            claim=self._claim,
            call=self._call,
            record=self._record,
            subject=lambda due: f"attempt {due.attempt.id} at {due.attempt.channel}",
            is_transient=self.is_transient,
            clock=self.clock,
            limits=self.limits,
        )

    async def step(self) -> int:
        """Claim what is due, wait for some answers, record them; 0 where nothing is under way."""
        return await self.calls.step()

    def reserve(self, count: int) -> Reservation[DueAttempt] | None:
        """Implements `FirstCalls`; none while others wait, since they came first."""
        return self.calls.reserve(count)

    async def drain(self) -> None:
        """Before the process ends: wait for the calls under way and record their answers."""
        await self.calls.drain()

    async def _claim(
        self, *, limit: int, lease: UUID, lease_time: timedelta
    ) -> Sequence[DueAttempt]:
        async with self.claims() as unit:
            claim = unit.attempts.claim_ended if self.asks_late else unit.attempts.claim
            now = self.clock.now()
            return await claim(now=now, limit=limit, lease=lease, lease_time=lease_time)

    async def _call(self, due: DueAttempt) -> Answer:
        if due.call is None:
            return NeverSent()
        channel = self.channels.get(due.attempt.channel)
        if channel is None:
            log.error("channel %s must be asked and is not configured", due.attempt.channel)
            return Unknown(UnknownCause.CONNECTION)
        return await ask(channel, due, now=self.clock.now())

    async def _record(self, ended: Sequence[Ended[DueAttempt, Given]]) -> Sequence[DueAttempt]:
        await record_calls(self.transactions, ended, channels=self.channels, clock=self.clock)
        return ()
