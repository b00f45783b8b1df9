"""Run due attempts: first try, retry, late asks and recovery after a crash are this one loop.

Lease and send count are committed before a call, no connection is held during it, and what came
back is recorded in one transaction per round.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from services.payment.application.ask_channels import ask
from services.payment.application.ports import Channels, DueAttempt, Transactions
from services.payment.application.record_outcomes import Answered, record_outcomes
from services.payment.domain.channel_answer import (
    Answer,
    NeverSent,
    Unknown,
    UnknownCause,
)
from services.payment.domain.payment_attempt import Call
from shared.kernel.clock import Clock

log = logging.getLogger(__name__)

# Answers that come this close together share one transaction.
GATHER_SECONDS = 0.005
# Late asks hurry nobody: they leave channels and connections to those who wait.
LATE_CALLS = 2
# How long a round waits for the first answer before it looks for due rows again.
ROUND_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`lease_seconds` is longer than a call and the recording after it can take."""

    concurrent_calls: int = 20
    call_timeout_seconds: float = 5.0
    lease_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.lease_seconds < 3 * self.call_timeout_seconds:
            raise ValueError("a lease must be at least three times as long as a call may take")


@dataclass(slots=True, kw_only=True)
class AttemptRunner:
    """Asks channels about due attempts, at most `concurrent_calls` at a time.

    Those that are open, or with `asks_late` those that ended and may have been paid since: in a
    runner of their own, so that they never stand before the others.

    `claims` opens units for one statement each: a claim is nothing else.
    `is_transient` tells whether a failed transaction may succeed later; other failures are
    recorded one by one, so that one row never holds up the rest.
    """

    transactions: Transactions
    claims: Transactions
    channels: Channels
    clock: Clock
    is_transient: Callable[[BaseException], bool]
    limits: Limits = field(default_factory=Limits)
    asks_late: bool = False
    _calls: set[asyncio.Task[Answered]] = field(default_factory=set)
    _answers: list[Answered] = field(default_factory=list)

    async def step(self) -> int:
        """Claim what is due, wait for some answers, record them; 0 where nothing is under way."""
        await self._record()
        claimed = await self._claim()
        if not self._calls:
            return claimed
        await self._gather(ROUND_SECONDS)
        await self._record()
        return max(claimed, 1)

    async def drain(self) -> None:
        """Before the process ends: wait for the calls under way and record their answers."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=self.limits.call_timeout_seconds + 1)
        await self._gather(0)
        await self._record()

    async def _claim(self) -> int:
        room = self.limits.concurrent_calls - len(self._calls) - len(self._answers)
        if room <= 0:
            return 0
        # Taken before the claim: what follows can only make the lease look shorter.
        claimed_at = asyncio.get_running_loop().time()
        async with self.claims() as unit:
            claim = unit.attempts.claim_ended if self.asks_late else unit.attempts.claim
            claimed = await claim(
                now=self.clock.now(),
                limit=room,
                lease=uuid4(),
                lease_time=timedelta(seconds=self.limits.lease_seconds),
            )
        for due in claimed:
            self._calls.add(asyncio.create_task(self._call(due, claimed_at=claimed_at)))
        return len(claimed)

    async def _call(self, due: DueAttempt, *, claimed_at: float) -> Answered:
        asked_at = self.clock.now()
        return Answered(
            order_id=due.attempt.order_id,
            attempt_id=due.attempt.id,
            lease=due.lease,
            call=due.call or Call.START,
            answer=await self._answer(due, claimed_at=claimed_at),
            asked_at=asked_at,
        )

    async def _answer(self, due: DueAttempt, *, claimed_at: float) -> Answer:
        if due.call is None:
            return NeverSent()
        channel = self.channels.get(due.attempt.channel)
        if channel is None:
            log.error("channel %s must be asked and is not configured", due.attempt.channel)
            return Unknown(UnknownCause.CONNECTION)
        # A process that slept through its lease must not send: somebody else took over.
        age = asyncio.get_running_loop().time() - claimed_at
        if age > self.limits.lease_seconds - 2 * self.limits.call_timeout_seconds:
            return Unknown(UnknownCause.LEASE_OVER)
        try:
            async with asyncio.timeout(self.limits.call_timeout_seconds):
                return await ask(channel, due, now=self.clock.now())
        except TimeoutError:
            return Unknown(UnknownCause.TIMEOUT)
        except Exception:
            log.exception("channel %s raised instead of answering", due.attempt.channel)
            return Unknown(UnknownCause.NONSENSE)

    async def _gather(self, wait_seconds: float) -> None:
        """Move finished calls to the answers; those that finish together share a transaction."""
        if not self._calls:
            return
        await asyncio.wait(self._calls, timeout=wait_seconds, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(GATHER_SECONDS)
        done = {call for call in self._calls if call.done()}
        self._calls -= done
        self._answers += [call.result() for call in done]

    async def _record(self) -> None:
        if not self._answers:
            return
        try:
            await self._record_together(self._answers)
        except Exception as error:
            if self.is_transient(error):
                raise
            log.exception("%s answers could not be recorded together", len(self._answers))
            await self._record_one_by_one()
        self._answers = []

    async def _record_one_by_one(self) -> None:
        for answered in self._answers:
            try:
                await self._record_together([answered])
            except Exception as error:
                if self.is_transient(error):
                    raise
                # Its lease runs out, and then it is asked about again.
                log.exception("the answer about attempt %s is not recorded", answered.attempt_id)

    async def _record_together(self, answers: list[Answered]) -> None:
        async with self.transactions() as unit:
            await record_outcomes(unit, answers, channels=self.channels, now=self.clock.now())
