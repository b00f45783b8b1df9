"""Calls to the outside about rows under a lease: claim, call, record, and nothing is lost between.

The lease is committed before a call, no unit is open during it, and what came back is recorded in
one unit per round. First try, retry and recovery after a crash are the same rows under new leases.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Generic, Protocol, TypeVar
from uuid import UUID, uuid4

from shared.kernel.clock import Clock

log = logging.getLogger(__name__)

# How soon due rows are looked for again while calls begin that needed no claim.
CLAIM_SECONDS = 0.1
# Answers that come this close together share one record.
GATHER_SECONDS = 0.005
# How long a round waits for the first answer before it looks for due rows again.
ROUND_SECONDS = 0.1
# A call that is cut off at its deadline needs a moment to end.
CUT_OFF_SECONDS = 1.0

Due = TypeVar("Due")
DueOut = TypeVar("DueOut", covariant=True)
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`lease_seconds` is longer than a call and the recording after it can take.

    Raises ValueError where it is less than three times `call_timeout_seconds`.
    """

    concurrent_calls: int = 20
    call_timeout_seconds: float = 5.0
    lease_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.lease_seconds < 3 * self.call_timeout_seconds:
            raise ValueError("a lease must be at least three times as long as a call may take")

    @property
    def lease_time(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)


class Silence(StrEnum):
    """Why there is no answer. After the first two nobody knows whether the call took effect."""

    TIMEOUT = "timeout"
    RAISED = "raised"
    # Nothing was sent.
    LEASE_OVER = "lease_over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Generic[Due, Answer]):
    """A call that ended, on its way to the record; `asked_at` is when it began."""

    due: Due
    answer: Answer | Silence
    asked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation(Generic[Due]):
    """Room for `room` first calls, under one lease.

    `end` is called once, after the transaction: with the rows whose leases are committed, or with
    none.
    """

    room: int
    lease: UUID
    lease_time: timedelta
    end: Callable[[Sequence[Due]], None]


class Claim(Protocol[DueOut]):
    """Takes at most `limit` due rows for `lease_time`, and commits that before it returns."""

    async def __call__(
        self, *, limit: int, lease: UUID, lease_time: timedelta
    ) -> Sequence[DueOut]: ...


async def call_in_time(
    due: Due,
    call: Callable[[Due], Awaitable[Answer]],
    *,
    seconds: float,
    clock: Clock,
    subject: object,
) -> Ended[Due, Answer]:
    """Call within `seconds`. Whatever is raised is logged about `subject` and becomes silence."""
    asked_at = clock.now()
    answer: Answer | Silence
    try:
        async with asyncio.timeout(seconds):
            answer = await call(due)
    except TimeoutError:
        answer = Silence.TIMEOUT
    except Exception:
        log.exception("the call about %s raised instead of answering", subject)
        answer = Silence.RAISED
    return Ended(due=due, answer=answer, asked_at=asked_at)


@dataclass(slots=True, kw_only=True)
class LeasedCalls(Generic[Due, Answer]):
    """At most `limits.concurrent_calls` at a time; a slow one holds up no other.

    `record` stores what a set of calls came to, in one unit. It may return rows that it leased
    anew for a next call (at most one for each that ended): they are called in the same room.
    `is_transient` says whether a failed record may succeed later: then its answers are kept for
    the next round. After any other failure they are recorded one by one, so that a poisonous one
    fails alone; its lease runs out, and then it is asked about again.
    `subject` names a row in the log, without personal data.
    """

    claim: Claim[Due]
    call: Callable[[Due], Awaitable[Answer]]
    record: Callable[[Sequence[Ended[Due, Answer]]], Awaitable[Sequence[Due]]]
    subject: Callable[[Due], object]
    is_transient: Callable[[BaseException], bool]
    clock: Clock
    limits: Limits
    # Seconds that never go back; measures leases from before their claim.
    monotonic: Callable[[], float] = lambda: asyncio.get_running_loop().time()
    _calls: set[asyncio.Task[Ended[Due, Answer]]] = field(default_factory=set)
    _ended: list[asyncio.Task[Ended[Due, Answer]]] = field(default_factory=list)
    _reserved_count: int = 0
    # Set when a call ended, or a reservation.
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _claimed_at: float = float("-inf")
    _has_begun_unclaimed: bool = False
    # Rows are due, or soon will be, for which there was no room.
    _others_wait: bool = False
    _is_draining: bool = False

    async def step(self) -> int:
        """Claim what is due, wait for some answers, record them; 0 where nothing is under way.

        Raises what a record raised transiently, after which the next step tries it again.
        """
        await self._record()
        claimed = await self._claim()
        if not self._calls and not self._ended:
            return claimed
        await self._gather()
        await self._record()
        return max(claimed, 1)

    def reserve(self, count: int) -> Reservation[Due] | None:
        """Room for calls whose leases a transaction is about to commit.

        None while others wait, since they came first, and none on the way to the end.
        """
        may_begin = not self._is_draining and not self._others_wait
        room = min(count, self.room) if may_begin else 0
        self._others_wait |= room < count
        if room <= 0:
            return None
        self._reserved_count += room
        end = partial(self._end_reservation, room, self.monotonic())
        return Reservation(room=room, lease=uuid4(), lease_time=self.limits.lease_time, end=end)

    async def drain(self) -> None:
        """Before the process ends: wait for the calls under way and record their answers."""
        self._is_draining = True
        until = self.monotonic() + self.limits.call_timeout_seconds + CUT_OFF_SECONDS
        while True:
            is_in_time = await self._wait_for_all(until)
            await self._record()
            if not (is_in_time and self._calls):
                return

    @property
    def under_way(self) -> int:
        """Calls that have not ended."""
        return len(self._calls)

    @property
    def room(self) -> int:
        """How many more calls may begin; what is not recorded yet still takes room."""
        taken = len(self._calls) + len(self._ended) + self._reserved_count
        return self.limits.concurrent_calls - taken

    async def _claim(self) -> int:
        # Taken before the claim: what follows can only make the lease look shorter.
        now = self.monotonic()
        may_rest = self._has_begun_unclaimed and not self._others_wait
        self._has_begun_unclaimed = False
        room = self.room
        if room <= 0 or (may_rest and now - self._claimed_at < CLAIM_SECONDS):
            return 0
        claimed = await self.claim(limit=room, lease=uuid4(), lease_time=self.limits.lease_time)
        self._claimed_at = now
        self._others_wait = len(claimed) == room
        self._begin(claimed, leased_at=now)
        return len(claimed)

    def _end_reservation(self, room: int, reserved_at: float, leased: Sequence[Due]) -> None:
        self._reserved_count -= room
        self._begin_unclaimed(leased, leased_at=reserved_at)
        self._changed.set()

    def _begin_unclaimed(self, leased: Sequence[Due], *, leased_at: float) -> None:
        self._has_begun_unclaimed |= bool(leased)
        self._begin(leased, leased_at=leased_at)

    def _begin(self, leased: Sequence[Due], *, leased_at: float) -> None:
        for due in leased:
            call = asyncio.create_task(self._call(due, leased_at=leased_at))
            self._calls.add(call)
            call.add_done_callback(self._end)

    def _end(self, call: asyncio.Task[Ended[Due, Answer]]) -> None:
        self._calls.discard(call)
        self._changed.set()
        if not call.cancelled():
            self._ended.append(call)

    async def _call(self, due: Due, *, leased_at: float) -> Ended[Due, Answer]:
        limits = self.limits
        # A process that slept through its lease must not send: somebody else took over.
        if self.monotonic() - leased_at > limits.lease_seconds - 2 * limits.call_timeout_seconds:
            return Ended(due=due, answer=Silence.LEASE_OVER, asked_at=self.clock.now())
        return await call_in_time(
            due,
            self.call,
            seconds=limits.call_timeout_seconds,
            clock=self.clock,
            subject=self.subject(due),
        )

    async def _gather(self) -> None:
        """Wait for an answer, and a moment for those that come with it."""
        if not self._ended:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(ROUND_SECONDS):
                    await self._changed.wait()
        await asyncio.sleep(GATHER_SECONDS)

    async def _wait_for_all(self, until: float) -> bool:
        """Until no call and no reservation is left; False where the time is over before."""
        while self._calls or self._reserved_count:
            self._changed.clear()
            try:
                async with asyncio.timeout(until - self.monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return True

    async def _record(self) -> None:
        # More may end meanwhile; those stay for the next round.
        ended = list(self._ended)
        if not ended:
            return
        try:
            await self._record_together(ended)
        except Exception as error:
            if self.is_transient(error):
                raise
            log.exception("%s answers could not be recorded together", len(ended))
            for each in ended:
                await self._record_alone(each)

    async def _record_alone(self, ended: asyncio.Task[Ended[Due, Answer]]) -> None:
        try:
            await self._record_together([ended])
        except Exception as error:
            if self.is_transient(error):
                raise
            self._ended.remove(ended)
            log.exception("the answer about %s is not recorded", self.subject(ended.result().due))

    async def _record_together(self, ended: Sequence[asyncio.Task[Ended[Due, Answer]]]) -> None:
        # Before the record for the same reason as before a claim.
        now = self.monotonic()
        leased = await self.record([call.result() for call in ended])
        for call in ended:
            self._ended.remove(call)
        self._begin_unclaimed(leased, leased_at=now)
