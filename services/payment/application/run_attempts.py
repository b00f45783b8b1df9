"""Run due attempts: first try, retry, late asks and recovery after a crash are this one loop.

Lease and send count are committed before a call, no connection is held during it, and what came
back is recorded in one transaction per round.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import uuid4

from services.payment.application.ask_channels import ask
from services.payment.application.ports import (
    Channels,
    DueAttempt,
    Reservation,
    Statements,
    Transactions,
)
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

# How soon the loop looks for due rows again while first calls come to it without a claim.
CLAIM_SECONDS = 0.1
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
    claims: Statements
    channels: Channels
    clock: Clock
    is_transient: Callable[[BaseException], bool]
    limits: Limits = field(default_factory=Limits)
    asks_late: bool = False
    _calls: set[asyncio.Task[Answered]] = field(default_factory=set)
    _answers: list[Answered] = field(default_factory=list)
    _reserved_count: int = 0
    # Set when a call ended, or a reservation.
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _claimed_at: float = float("-inf")
    _has_begun_first_calls: bool = False
    # Rows are due, or soon will be, for which there was no room.
    _others_wait: bool = False
    _is_draining: bool = False

    async def step(self) -> int:
        """Claim what is due, wait for some answers, record them; 0 where nothing is under way."""
        await self._record()
        claimed = await self._claim()
        if not self._calls and not self._answers:
            return claimed
        await self._gather(ROUND_SECONDS)
        await self._record()
        return max(claimed, 1)

    def reserve(self, count: int) -> Reservation | None:
        """Implements `FirstCalls`; none while others wait, since they came first."""
        may_begin = not self._is_draining and not self._others_wait
        room = min(count, self._room) if may_begin else 0
        self._others_wait |= room < count
        if room <= 0:
            return None
        self._reserved_count += room
        end = partial(self._end_reservation, room, _monotonic())
        return Reservation(room=room, lease=uuid4(), lease_time=self._lease_time, end=end)

    def _end_reservation(
        self, room: int, reserved_at: float, attempts: Sequence[DueAttempt]
    ) -> None:
        self._reserved_count -= room
        self._has_begun_first_calls |= bool(attempts)
        for due in attempts:
            self._begin(due, claimed_at=reserved_at)
        self._changed.set()

    async def drain(self) -> None:
        """Before the process ends: wait for the calls under way and record their answers."""
        self._is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.call_timeout_seconds + 1):
                while self._calls or self._reserved_count:
                    self._changed.clear()
                    await self._changed.wait()
        await self._record()

    @property
    def _room(self) -> int:
        under_way = len(self._calls) + len(self._answers) + self._reserved_count
        return self.limits.concurrent_calls - under_way

    async def _claim(self) -> int:
        # Taken before the claim: what follows can only make the lease look shorter.
        now = _monotonic()
        may_rest = self._has_begun_first_calls and not self._others_wait
        self._has_begun_first_calls = False
        room = self._room
        if room <= 0 or (may_rest and now - self._claimed_at < CLAIM_SECONDS):
            return 0
        async with self.claims() as unit:
            claim = unit.attempts.claim_ended if self.asks_late else unit.attempts.claim
            claimed = await claim(
                now=self.clock.now(),
                limit=room,
                lease=uuid4(),
                lease_time=self._lease_time,
            )
        self._claimed_at = now
        self._others_wait = len(claimed) == room
        for due in claimed:
            self._begin(due, claimed_at=now)
        return len(claimed)

    @property
    def _lease_time(self) -> timedelta:
        return timedelta(seconds=self.limits.lease_seconds)

    def _begin(self, due: DueAttempt, *, claimed_at: float) -> None:
        call = asyncio.create_task(self._call(due, claimed_at=claimed_at))
        self._calls.add(call)
        call.add_done_callback(self._end)

    def _end(self, call: asyncio.Task[Answered]) -> None:
        self._calls.discard(call)
        self._changed.set()
        if not call.cancelled():
            self._answers.append(call.result())

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
        age = _monotonic() - claimed_at
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
        """Wait for an answer, and a moment for those that finish with it."""
        if not self._answers:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._changed.wait()
        await asyncio.sleep(GATHER_SECONDS)

    async def _record(self) -> None:
        # More may come meanwhile; those stay for the next round.
        answers = list(self._answers)
        if not answers:
            return
        try:
            await self._record_together(answers)
        except Exception as error:
            if self.is_transient(error):
                raise
            log.exception("%s answers could not be recorded together", len(answers))
            await self._record_one_by_one(answers)
        del self._answers[: len(answers)]

    async def _record_one_by_one(self, answers: list[Answered]) -> None:
        for answered in answers:
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


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
