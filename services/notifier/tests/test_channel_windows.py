"""What counts, in which minute, and that a channel at the edge does not flicker."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.notifier.domain.channel_windows import (
    Counts,
    Limits,
    Pace,
    Standing,
    judge,
    observe,
    total,
    window_of,
)
from testing.builders import (
    SOME_TIME,
    contribution_assessed,
    message,
    payment_delayed,
    payment_failed,
    payment_outcome_asked,
    payment_requested,
    payment_settled,
)

LIMITS = Limits()


def counts_of(body: Any) -> Counts | None:
    seen = observe(message(body))
    return seen.counts if seen else None


def test_each_outcome_counts_once_and_an_ask_or_a_stranger_not_at_all() -> None:
    times: dict[str, Any] = {
        "asked_at": SOME_TIME,
        "confirmed_at": SOME_TIME + timedelta(seconds=2.5),
    }

    assert counts_of(payment_requested()) == Counts(requested=1)
    assert counts_of(payment_settled(**times)) == Counts(settled=1, timed=1, milliseconds=2500)
    assert counts_of(payment_settled()) == Counts(settled=1)
    assert counts_of(payment_failed()) == Counts(failed=1)
    assert counts_of(payment_delayed()) == Counts(unknown=1)
    assert counts_of(payment_outcome_asked()) is None
    assert counts_of(contribution_assessed()) is None


def test_a_clock_that_went_back_counts_as_no_time() -> None:
    times: dict[str, Any] = {
        "asked_at": SOME_TIME,
        "confirmed_at": SOME_TIME - timedelta(seconds=1),
    }

    assert counts_of(payment_settled(**times)) == Counts(settled=1, timed=1)


def test_the_events_own_time_decides_the_window_in_whole_minutes() -> None:
    edge = SOME_TIME.replace(second=59, microsecond=999_999)

    assert window_of(edge) == window_of(SOME_TIME.replace(second=0))
    assert window_of(edge + timedelta(microseconds=1)) == window_of(SOME_TIME) + 60


def test_windows_add_up() -> None:
    assert total([Counts(1, 2, 3, 4, 5, 6), Counts(1, 1, 1, 1, 1, 1)]) == Counts(2, 3, 4, 5, 6, 7)
    assert total([]) == Counts()


def settled(count: int, seconds: float, *, unknown: int = 0) -> Counts:
    return Counts(
        settled=count, timed=count, milliseconds=round(count * seconds * 1000), unknown=unknown
    )


def standing(pace: Pace, at: datetime = SOME_TIME) -> Standing:
    return Standing(pace=pace, since=at, judged_at=at)


@pytest.mark.parametrize(
    ("before", "counts", "after"),
    [
        (Pace.NORMAL, settled(20, 10.0), Pace.SLOW),
        (Pace.NORMAL, settled(19, 100.0), Pace.NORMAL),  # too few to say so
        (Pace.NORMAL, settled(20, 9.9), Pace.NORMAL),
        (Pace.SLOW, settled(20, 9.9), Pace.SLOW),
        (Pace.SLOW, settled(20, 5.1), Pace.SLOW),
        (Pace.SLOW, settled(20, 5.0), Pace.NORMAL),
        (Pace.NORMAL, settled(16, 1.0, unknown=4), Pace.SLOW),
        (Pace.SLOW, settled(18, 1.0, unknown=2), Pace.SLOW),
        (Pace.SLOW, settled(19, 1.0, unknown=1), Pace.NORMAL),
    ],
)
def test_slow_begins_above_one_limit_and_ends_below_another(
    before: Pace, counts: Counts, after: Pace
) -> None:
    assert judge(standing(before), counts, LIMITS, SOME_TIME).pace is after


def test_what_stands_stands_since_its_beginning() -> None:
    later = SOME_TIME + timedelta(minutes=3)

    still = judge(standing(Pace.SLOW), settled(20, 20.0), LIMITS, later)

    assert (still.pace, still.since, still.judged_at) == (Pace.SLOW, SOME_TIME, later)


def test_a_slow_channel_that_nobody_uses_any_more_is_normal_after_a_while() -> None:
    slow = standing(Pace.SLOW)

    kept = judge(slow, Counts(), LIMITS, SOME_TIME + timedelta(seconds=899))
    forgotten = judge(slow, Counts(), LIMITS, SOME_TIME + timedelta(seconds=900))

    assert (kept.pace, forgotten.pace) == (Pace.SLOW, Pace.NORMAL)
