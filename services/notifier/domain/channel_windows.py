"""What the outcomes of one channel in one region say in a minute, and when that is slow.

Pure. A window is 60 whole seconds of the events' own time; what is read is the sum of the last few.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec

from shared.kernel.events import (
    Event,
    Message,
    PaymentDelayed,
    PaymentFailed,
    PaymentRequested,
    PaymentSettled,
)

WINDOW_SECONDS = 60
# An event that is older than this beside the newest of its partition is counted as late only.
KEPT_SECONDS = 3600
# Stands for the channel of an order whose payer has yet to choose one.
NOT_CHOSEN = "chosen-by-payer"
NO_REGION = "-"


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """Events of one window, or of several; `milliseconds` is the sum of `timed` settlements."""

    requested: int = 0
    settled: int = 0
    failed: int = 0
    unknown: int = 0
    timed: int = 0
    milliseconds: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Counts(*(mine + others for mine, others in pairs))

    @property
    def answered(self) -> int:
        """How many orders say something about the channel's pace."""
        return self.timed + self.unknown

    @property
    def mean_seconds(self) -> float:
        """The channel's own time from asked to confirmed; 0 where none is known."""
        return self.milliseconds / self.timed / 1000 if self.timed else 0.0

    @property
    def unknown_share(self) -> float:
        return self.unknown / self.answered if self.answered else 0.0


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What one event adds, and to which window."""

    channel: str
    region: str
    window: int
    counts: Counts


def window_of(instant: datetime) -> int:
    """The first second of the window, since 1970."""
    seconds = int(instant.timestamp())
    return seconds - seconds % WINDOW_SECONDS


def observe(message: Message[Event]) -> Observation | None:
    """None for an event that says nothing about a channel, or asks for an answer once more."""
    body = message.body
    counts: Counts
    match body:
        case PaymentRequested() if type(body) is PaymentRequested:
            counts = Counts(requested=1)
        case PaymentSettled():
            counts = _settled(body)
        case PaymentFailed():
            counts = Counts(failed=1)
        case PaymentDelayed():
            counts = Counts(unknown=1)
        case _:
            return None
    return Observation(
        channel=body.channel or NOT_CHOSEN,
        region=body.region or NO_REGION,
        window=window_of(message.envelope.time),
        counts=counts,
    )


def total(counts: Iterable[Counts]) -> Counts:
    return sum(counts, Counts())


def _settled(body: PaymentSettled) -> Counts:
    if body.asked_at is None or body.confirmed_at is None:
        return Counts(settled=1)
    seconds = max(0.0, (body.confirmed_at - body.asked_at).total_seconds())
    return Counts(settled=1, timed=1, milliseconds=round(seconds * 1000))


class Pace(StrEnum):
    NORMAL = "normal"
    SLOW = "slow"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Between the two limits nothing changes, so that a channel at the edge does not flicker."""

    read_seconds: int = 300
    answered_min: int = 20
    slow_seconds: float = 10.0
    normal_seconds: float = 5.0
    slow_unknown_share: float = 0.2
    normal_unknown_share: float = 0.05


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a channel stands, since when, and when there was last enough traffic to say so."""

    pace: Pace
    since: datetime
    judged_at: datetime


def judge(before: Standing | None, counts: Counts, limits: Limits, now: datetime) -> Standing:
    """The standing after the last `read_seconds`.

    With too little traffic it stays; what nobody used for three times as long is normal again,
    since nothing speaks against it any more.
    """
    if before is None:
        before = Standing(pace=Pace.NORMAL, since=now, judged_at=now)
    if counts.answered < limits.answered_min:
        is_forgotten = (now - before.judged_at).total_seconds() >= 3 * limits.read_seconds
        return _changed(before, Pace.NORMAL, now) if is_forgotten else before
    judged = msgspec.structs.replace(before, judged_at=now)
    if (
        counts.mean_seconds >= limits.slow_seconds
        or counts.unknown_share >= limits.slow_unknown_share
    ):
        return _changed(judged, Pace.SLOW, now)
    if (
        counts.mean_seconds <= limits.normal_seconds
        and counts.unknown_share <= limits.normal_unknown_share
    ):
        return _changed(judged, Pace.NORMAL, now)
    return judged


def _changed(before: Standing, pace: Pace, now: datetime) -> Standing:
    return before if before.pace is pace else Standing(pace=pace, since=now, judged_at=now)
