"""The laws of calls under a lease. Time stands still here until nothing else can happen."""

import asyncio
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any
from uuid import UUID

import pytest

from shared.kernel.leased_calls import Ended, LeasedCalls, Limits, Reservation, Silence
from testing.clock import FixedClock

LIMITS = Limits(concurrent_calls=3, call_timeout_seconds=5.0, lease_seconds=30.0)
HANGS, SOON = 10_000.0, 0.01
NOON = datetime(2026, 11, 30, 4, tzinfo=UTC)

Recorded = Ended[str, str]
# Whoever is called from inside a unit, or by a task that began there, inherits it.
in_unit = ContextVar("in_unit", default=False)


class LoopWithoutWaiting(asyncio.SelectorEventLoop):
    """Where others would wait for the next timer, this one moves its own time there."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: LoopWithoutWaiting) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("everybody waits, and nothing will ever happen")
        # A little further than asked for: floats must not leave a timer almost due for ever.
        self._loop.now += timeout + 1e-9 if timeout > 0 else 0.0
        return super().select(0)


def without_waiting(
    test: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **more: Any) -> None:
        with asyncio.Runner(loop_factory=LoopWithoutWaiting) as runner:
            runner.run(test(*args, **more))

    return run


class DatabaseAway(Exception):
    pass


class Poison(Exception):
    pass


class ProcessDied(BaseException):
    pass


@dataclass
class Outside:
    """Rows that are due, the channel that is asked about them, and what was recorded."""

    limits: Limits = LIMITS
    due: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    answers: dict[str, Callable[[], str]] = field(default_factory=dict)
    # What befalls the next records, in this order.
    failures: list[Exception | None] = field(default_factory=list)
    poison: set[str] = field(default_factory=set)
    # Row → the row that its record leases anew.
    next_of: dict[str, str] = field(default_factory=dict)
    claim_seconds: float = 0.0
    record_seconds: float = 0.0
    log: list[str] = field(default_factory=list)
    records: list[list[str]] = field(default_factory=list)
    recorded: dict[str, Recorded] = field(default_factory=dict)
    claims: list[tuple[int, UUID, timedelta]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    calls_inside_a_unit: int = 0
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOON))
    leased: LeasedCalls[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.leased = LeasedCalls(
            claim=self._claim,
            call=self._call,
            record=self._record,
            subject=lambda due: due,
            is_transient=lambda error: isinstance(error, DatabaseAway),
            clock=self.clock,
            limits=self.limits,
        )

    @property
    def called(self) -> Counter[str]:
        return Counter(line.split()[1] for line in self.log if line.startswith("call "))

    async def run(self, *, steps_max: int = 1000) -> None:
        for _ in range(steps_max):
            if not await self.leased.step():
                return
        raise AssertionError("something is under way for ever")

    async def _claim(self, *, limit: int, lease: UUID, lease_time: timedelta) -> Sequence[str]:
        self.claims.append((limit, lease, lease_time))
        taken, self.due = self.due[:limit], self.due[limit:]
        await self._unit(self.claim_seconds)
        self.log += [f"lease {due}" for due in taken]
        return taken

    async def _call(self, due: str) -> str:
        self.log.append(f"call {due}")
        self.calls_inside_a_unit += in_unit.get()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.seconds.get(due, SOON))
            self.clock.advance(timedelta(seconds=1))
            return self.answers.get(due, lambda: f"answer of {due}")()
        finally:
            self.in_flight -= 1

    async def _record(self, ended: Sequence[Recorded]) -> Sequence[str]:
        names = [each.due for each in ended]
        await self._unit(self.record_seconds)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        if self.poison & set(names):
            raise Poison
        self.records.append(names)
        self.recorded |= {each.due: each for each in ended}
        following = [self.next_of[name] for name in names if name in self.next_of]
        self.log += [f"lease {due}" for due in following]
        return following

    async def _unit(self, seconds: float) -> None:
        inside = in_unit.set(True)
        await asyncio.sleep(seconds)
        in_unit.reset(inside)


def rows(count: int) -> list[str]:
    return [f"row-{number}" for number in range(count)]


@without_waiting
async def test_a_lease_is_committed_before_the_call_and_the_answer_recorded_after_it() -> None:
    outside = Outside(due=["a"], claim_seconds=1.0)

    await outside.run()

    assert outside.log == ["lease a", "call a"]
    assert outside.recorded == {"a": Ended(due="a", answer="answer of a", asked_at=NOON)}
    (_, lease, lease_time), (_, other_lease, _) = outside.claims
    assert lease != other_lease
    assert lease_time == timedelta(seconds=30)


@without_waiting
async def test_no_call_begins_inside_the_unit_that_leases_it() -> None:
    outside = Outside(due=["a", "b"], next_of={"a": "a2", "b": "b2"}, record_seconds=1.0)

    await outside.run()

    lines = outside.log
    assert all(lines.index(f"lease {row}") < lines.index(f"call {row}") for row in outside.called)
    assert outside.called.keys() == {"a", "b", "a2", "b2"}
    assert outside.calls_inside_a_unit == 0


@without_waiting
async def test_never_more_calls_at_once_than_the_limit() -> None:
    outside = Outside(due=rows(20), next_of={"row-0": "next-0", "row-7": "next-7"})
    outside.record_seconds = 0.5

    reserved = outside.leased.reserve(2)
    assert reserved is not None
    running = asyncio.create_task(outside.run())
    await asyncio.sleep(1)
    reserved.end(["first-0", "first-1"])
    await running

    assert outside.most_in_flight == LIMITS.concurrent_calls
    assert outside.called == Counter([*rows(20), "next-0", "next-7", "first-0", "first-1"])
    assert all(limit <= LIMITS.concurrent_calls for limit, _, _ in outside.claims)


@without_waiting
async def test_what_is_not_recorded_takes_room_too() -> None:
    outside = Outside(due=rows(2), failures=[DatabaseAway()])
    with pytest.raises(DatabaseAway):
        await outside.leased.step()

    reserved = outside.leased.reserve(LIMITS.concurrent_calls)

    assert outside.leased.under_way == 0
    assert reserved is not None
    assert reserved.room == 1


@without_waiting
async def test_a_slow_call_holds_up_no_other() -> None:
    outside = Outside(due=["slow", *rows(40)], seconds={"slow": 4.9})

    while len(outside.recorded) < 40:
        await outside.leased.step()
    finished_at = asyncio.get_running_loop().time()
    await outside.run()

    assert finished_at < 1
    assert outside.recorded["slow"].answer == "answer of slow"


@without_waiting
async def test_a_call_that_hangs_ends_at_its_deadline_and_holds_up_no_other() -> None:
    outside = Outside(due=["hangs", *rows(40)], seconds={"hangs": HANGS})

    while len(outside.recorded) < 40:
        await outside.leased.step()
    finished_at = asyncio.get_running_loop().time()
    await outside.run()

    assert finished_at < 1
    assert outside.recorded["hangs"].answer is Silence.TIMEOUT
    assert 5 <= asyncio.get_running_loop().time() < 6


@without_waiting
async def test_an_exception_becomes_an_answer() -> None:
    outside = Outside(due=["raises", "a"], answers={"raises": lambda: str(1 / 0)})

    await outside.run()

    assert outside.recorded["raises"].answer is Silence.RAISED
    assert outside.recorded["a"].answer == "answer of a"


@without_waiting
async def test_what_no_call_may_catch_ends_the_loop() -> None:
    def dies() -> str:
        raise ProcessDied

    outside = Outside(due=["dies"], answers={"dies": dies})

    with pytest.raises(ProcessDied):
        await outside.run()

    assert outside.recorded == {}


@without_waiting
async def test_answers_that_come_together_are_recorded_together() -> None:
    outside = Outside(due=["a", "b", "c"], seconds={"b": SOON + 0.004, "c": SOON + 0.5})

    await outside.run()

    assert outside.records == [["a", "b"], ["c"]]


@without_waiting
async def test_a_poisonous_row_fails_alone() -> None:
    outside = Outside(due=["a", "poison", "c"], poison={"poison"}, next_of={"c": "c2"})

    await outside.run()

    assert outside.records == [["a"], ["c"], ["c2"]]
    assert outside.called == Counter(["a", "poison", "c", "c2"])


@without_waiting
async def test_a_transient_failure_keeps_the_answers_for_the_next_round() -> None:
    outside = Outside(due=["a", "b"], failures=[DatabaseAway(), DatabaseAway()])

    for _ in range(2):
        with pytest.raises(DatabaseAway):
            await outside.leased.step()
    await outside.run()

    assert outside.records == [["a", "b"]]
    assert outside.called == Counter(["a", "b"])


@without_waiting
async def test_a_database_that_goes_away_between_single_records_costs_and_doubles_nothing() -> None:
    outside = Outside(due=["a", "poison", "c"], poison={"poison"}, next_of={"a": "a2"})
    # Together, then a, then poison, then c.
    outside.failures = [Poison(), None, None, DatabaseAway()]

    with pytest.raises(DatabaseAway):
        await outside.leased.step()
    await outside.run()

    assert Counter(name for names in outside.records for name in names) == Counter(["a", "a2", "c"])
    assert outside.called == Counter(["a", "poison", "c", "a2"])


@without_waiting
async def test_before_the_end_calls_under_way_and_those_after_them_are_recorded() -> None:
    outside = Outside(due=["a"], seconds={"a": 2.0, "b": 2.0}, next_of={"a": "b"})
    await outside.leased.step()
    assert outside.recorded == {}

    await outside.leased.drain()

    assert outside.recorded.keys() == {"a", "b"}


@without_waiting
async def test_before_the_end_a_call_that_hangs_is_waited_for_until_its_deadline() -> None:
    outside = Outside(due=["hangs"], seconds={"hangs": HANGS})
    await outside.leased.step()

    await outside.leased.drain()

    assert outside.recorded["hangs"].answer is Silence.TIMEOUT


@without_waiting
async def test_the_end_waits_for_no_transaction_for_ever() -> None:
    outside = Outside(due=["a"])
    assert outside.leased.reserve(1) is not None
    await outside.leased.step()

    await outside.leased.drain()

    assert outside.recorded.keys() == {"a"}
    assert asyncio.get_running_loop().time() < LIMITS.lease_seconds


@without_waiting
async def test_before_the_end_nothing_is_claimed_or_begun_but_what_was_promised() -> None:
    outside = Outside(due=["later"])
    reserved = outside.leased.reserve(1)
    assert reserved is not None

    draining = asyncio.create_task(outside.leased.drain())
    await asyncio.sleep(1)
    refused = outside.leased.reserve(1)
    reserved.end(["promised"])
    await draining

    assert refused is None
    assert outside.recorded.keys() == {"promised"}


@pytest.mark.parametrize("leased_by", ["a claim", "a reservation", "a record"])
@pytest.mark.parametrize("sleeps", [19.0, 21.0])
@without_waiting
async def test_who_slept_through_a_lease_does_not_send(leased_by: str, sleeps: float) -> None:
    """A call may take 5 s and the record as long: 20 s after the lease began is too late."""
    outside = Outside()
    match leased_by:
        case "a claim":
            outside.due, outside.claim_seconds = ["row"], sleeps
        case "a reservation":
            reserved = _reserved(outside.leased)
            await asyncio.sleep(sleeps)
            reserved.end(["row"])
        case "a record":
            outside.due, outside.next_of = ["before"], {"before": "row"}
            outside.record_seconds = sleeps

    await outside.run()

    is_too_late = sleeps > 20
    assert outside.called["row"] == (0 if is_too_late else 1)
    answer = Silence.LEASE_OVER if is_too_late else "answer of row"
    assert outside.recorded["row"].answer == answer


def _reserved(leased: LeasedCalls[str, str]) -> Reservation[str]:
    reserved = leased.reserve(1)
    assert reserved is not None
    return reserved


@without_waiting
async def test_first_calls_begin_without_a_claim_and_give_back_what_they_do_not_use() -> None:
    outside = Outside()

    reserved = outside.leased.reserve(2)
    assert reserved is not None
    taken = outside.leased.room
    reserved.end(["first"])
    after = outside.leased.room
    await outside.run()

    assert (reserved.room, taken, after) == (2, 1, 2)
    assert outside.recorded.keys() == {"first"}
    assert outside.leased.room == 3


@without_waiting
async def test_first_calls_begin_only_while_nobody_waits() -> None:
    outside = Outside(due=rows(5))

    await outside.leased.step()
    room, reserved = outside.leased.room, outside.leased.reserve(1)
    await outside.run()

    assert len(outside.recorded) == 5
    assert (room, reserved) == (3, None)
    assert outside.leased.reserve(1) is not None


@without_waiting
async def test_whoever_gets_less_than_asked_for_waits_and_comes_before_the_next() -> None:
    outside = Outside()

    some = outside.leased.reserve(5)
    none = outside.leased.reserve(1)
    assert some is not None
    some.end(["first"])
    waiting = outside.leased.reserve(1)
    outside.due = ["waited"]
    await outside.run()

    assert (some.room, none, waiting) == (3, None, None)
    assert outside.recorded.keys() == {"first", "waited"}
    assert outside.leased.reserve(1) is not None


@without_waiting
async def test_while_calls_begin_unclaimed_due_rows_are_looked_for_ten_times_a_second() -> None:
    outside = Outside()
    await outside.run()

    for _ in range(100):
        _reserved(outside.leased).end(["first"])
        await outside.leased.step()
    seconds = asyncio.get_running_loop().time()

    assert 1 < seconds < 3
    assert len(outside.claims) <= 10 * seconds + 2


@without_waiting
async def test_while_rows_wait_for_room_they_are_looked_for_at_once() -> None:
    outside = Outside(due=rows(5), next_of={"row-0": "next-of-row-0"})

    await outside.leased.step()
    await outside.leased.step()

    assert [limit for limit, _, _ in outside.claims] == [3, 2]
    assert asyncio.get_running_loop().time() < 0.1


@pytest.mark.parametrize("factor", [1.0, 2.9])
def test_a_lease_that_calls_could_outlive_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="three times"):
        replace(LIMITS, lease_seconds=factor * LIMITS.call_timeout_seconds)
