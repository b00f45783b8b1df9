"""One scenario: load, a fault in the middle of it, recovery, and the checker's verdict."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import psycopg

from bench.result import this_commit
from testing.checker import Harm, History, Kind, Violation, check, read_world, tally, until_at_rest
from tests.crash.cashiers import CashierLoad
from tests.crash.load import CoreLoad, Load, WireLoad
from tests.crash.own_faults import OwnFaults
from tests.crash.stacks import CrashStack

DEADLINE_SECONDS = 60.0
# So long a run that missed its deadline is still waited for, to tell late from lost.
LATE_SECONDS = 240.0
SAMPLE_SECONDS = 0.5
# The load has found its pace by then; before the fault it is measured this long.
WARM_UP_SECONDS = 2.0
BEFORE_SECONDS = 4.0
# A rate over less is chance: the load comes in sets, and what had gathered is settled at once.
RATE_SECONDS_MIN = 3.0
VIOLATIONS_SHOWN = 10
COUNTS = """
SELECT count(*), count(*) FILTER (WHERE status <> 'OPEN') FROM payment_request
"""


class Mode(StrEnum):
    """How load comes in and what answers outside."""

    CORE = "core"
    WIRE = "wire"
    CASHIER = "cashier"


LOADS: Mapping[Mode, type[Load]] = {
    Mode.CORE: CoreLoad,
    Mode.WIRE: WireLoad,
    Mode.CASHIER: CashierLoad,
}


class Void(Exception):
    """The run proves nothing, because what was to happen did not happen; says what."""


@dataclass(slots=True)
class Field:
    """What a fault works on."""

    stack: CrashStack
    load: Load
    notes: list[str] = field(default_factory=list)
    # Topics of which the broker lost records.
    cut_topics: set[str] = field(default_factory=set)
    # More that is wrong than the checker can see, such as a replay that changed a table.
    violations: list[Violation] = field(default_factory=list)


Act = Callable[[Field], None]


def _nothing(field: Field) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`fault` returns when everything that it broke stands again.

    `before` comes after the preparations and before the load, `after` at rest before the check.
    `rate` is orders per second; `points` are the crash points that it proves. `servers_stand`: only
    processes of ours die, so that no part of another may fail.
    """

    name: str
    what: str
    fault: Act
    mode: Mode = Mode.CORE
    rate: float = 200.0
    seconds: float = 25.0
    before: Act = _nothing
    after: Act = _nothing
    points: tuple[str, ...] = ()
    is_alone: bool = False
    servers_stand: bool = False
    deadline_seconds: float = DEADLINE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the table. `rate_ratio` is settled orders per second after ÷ before.

    None where the load was over before the system had recovered, or nothing was measured before.
    """

    name: str
    what: str
    mode: str
    points: tuple[str, ...]
    orders: int
    lost: int
    doubled: int
    stuck: int
    wrong: int
    recovery_seconds: float | None
    rate_ratio: float | None
    run_seconds: float
    void: str | None
    notes: tuple[str, ...]
    violations: tuple[str, ...]
    commit: str = field(default_factory=partial(this_commit, digits=7))

    @property
    def is_green(self) -> bool:
        return self.void is None and not self._has_violations

    @property
    def says_nothing(self) -> bool:
        """Void, and nothing found: what was to happen did not, so nothing was proven or broken."""
        return self.void is not None and not self._has_violations

    @property
    def _has_violations(self) -> bool:
        return bool(self.lost or self.doubled or self.stuck or self.wrong)


@dataclass(frozen=True, slots=True)
class Sample:
    at: float
    requested: int
    ended: int


class Sampler(threading.Thread):
    """Counts requested and ended orders twice a second; a database that is away is no sample."""

    def __init__(self, url: str) -> None:
        super().__init__(name="sampler", daemon=True)
        self._url = url
        self._stopping = threading.Event()
        self.samples: list[Sample] = []

    def run(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            try:
                with psycopg.connect(self._url, connect_timeout=2) as connection:
                    row = connection.execute(COUNTS).fetchone()
            except psycopg.Error:
                continue
            if row is not None:
                self.samples.append(Sample(time.monotonic(), *row))

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def rate(self, begin: float, end: float) -> float | None:
        """Ended orders per second between two moments; None where too little is known."""
        inside = [sample for sample in self.samples if begin <= sample.at <= end]
        if len(inside) < 2 or inside[-1].at - inside[0].at < RATE_SECONDS_MIN:
            return None
        return (inside[-1].ended - inside[0].ended) / (inside[-1].at - inside[0].at)

    def caught_up_after(self, fault_over: float) -> float | None:
        """Seconds until as many orders had ended as were requested when the fault was over."""
        later = [sample for sample in self.samples if sample.at >= fault_over]
        if not later:
            return None
        waited_for = later[0].requested
        return next((s.at - fault_over for s in later if s.ended >= waited_for), None)


def failed_run(scenario: Scenario, error: Exception) -> Result:
    """The line of a scenario that could not be run to its end."""
    return Result(
        name=scenario.name,
        what=scenario.what,
        mode=scenario.mode.value,
        points=scenario.points,
        orders=0,
        lost=0,
        doubled=0,
        stuck=0,
        wrong=0,
        recovery_seconds=None,
        rate_ratio=None,
        run_seconds=0.0,
        void=f"{type(error).__name__}: {error}",
        notes=(),
        violations=(),
    )


def run_scenario(scenario: Scenario, stack: CrashStack) -> Result:
    """Run it on a stack that is at rest."""
    began = time.monotonic()
    load = LOADS[scenario.mode](stack, rate=scenario.rate, seconds=scenario.seconds)
    place = Field(stack, load)
    sampler = Sampler(stack.databases["billing"])
    own_faults = OwnFaults(stack.stack.state_dir / "logs")
    void: str | None = None
    times: Mapping[str, float] = {}
    try:
        times = _under_load(scenario, place, sampler)
    except Void as error:
        void = str(error)
    finally:
        load.finish()
    _come_to_rest(scenario, place)
    try:
        scenario.after(place)
    except (TimeoutError, Void) as error:
        void = void or str(error)
    if void is None and load.unanswered:
        void = f"{len(load.unanswered)} clients were not answered: {load.unanswered[0]}"
    if sampler.is_alive():
        sampler.stop()
    violations = _judge(place)
    if scenario.servers_stand:
        violations += own_faults.violations()
    return _result(scenario, place, sampler, times, violations, void, time.monotonic() - began)


def _under_load(scenario: Scenario, place: Field, sampler: Sampler) -> dict[str, float]:
    load, stack = place.load, place.stack
    load.prepare()
    until_at_rest(stack.databases, stack.kafka, within_seconds=scenario.deadline_seconds)
    scenario.before(place)
    sampler.start()
    started = time.monotonic()
    load.start()
    time.sleep(WARM_UP_SECONDS + BEFORE_SECONDS)
    fault = time.monotonic()
    scenario.fault(place)
    over = time.monotonic()
    load.finish()
    return {"started": started, "fault": fault, "over": over, "load_over": time.monotonic()}


def _come_to_rest(scenario: Scenario, place: Field) -> None:
    """Whoever is too late is stuck; what is lost or doubled can only be seen at rest."""
    stack = place.stack
    try:
        until_at_rest(stack.databases, stack.kafka, within_seconds=scenario.deadline_seconds)
    except TimeoutError as error:
        place.violations.append(Violation(Kind.ORDER_STUCK, "deadline", str(error)))
        with suppress(TimeoutError):
            until_at_rest(stack.databases, stack.kafka, within_seconds=LATE_SECONDS)


def _judge(place: Field) -> list[Violation]:
    history = History(dict(place.load.acknowledged))
    world = read_world(place.stack.databases, place.stack.kafka)
    found = check(history, place.stack.books(), world, cut_topics=place.cut_topics)
    return [*place.violations, *found]


def _result(
    scenario: Scenario,
    place: Field,
    sampler: Sampler,
    times: Mapping[str, float],
    violations: list[Violation],
    void: str | None,
    run_seconds: float,
) -> Result:
    counts = tally(violations)
    recovery, ratio = None, None
    if times:
        recovery = sampler.caught_up_after(times["over"])
        before = sampler.rate(times["started"] + WARM_UP_SECONDS, times["fault"])
        settled_again = times["over"] + (recovery or 0)
        after = sampler.rate(settled_again, times["load_over"])
        ratio = after / before if before and after is not None else None
    return Result(
        name=scenario.name,
        what=scenario.what,
        mode=scenario.mode.value,
        points=scenario.points,
        orders=len(place.load.acknowledged),
        lost=counts[Harm.LOST],
        doubled=counts[Harm.DOUBLED],
        stuck=counts[Harm.STUCK],
        wrong=counts[Harm.WRONG],
        recovery_seconds=recovery,
        rate_ratio=ratio,
        run_seconds=run_seconds,
        void=void,
        notes=tuple(place.notes),
        violations=tuple(str(violation) for violation in violations[:VIOLATIONS_SHOWN]),
    )
