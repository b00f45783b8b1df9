"""Instants and the calendar of China."""

from datetime import UTC, datetime, timedelta, timezone

from shared.kernel.clock import SystemClock, shanghai_month, to_rfc3339
from testing.clock import FixedClock


def test_a_month_begins_at_midnight_in_china() -> None:
    last_instant = datetime(2026, 10, 31, 15, 59, 59, tzinfo=UTC)

    assert shanghai_month(last_instant) == "2026-10"
    assert shanghai_month(last_instant + timedelta(seconds=1)) == "2026-11"


def test_instants_are_written_in_utc_with_milliseconds() -> None:
    in_china = datetime(2026, 11, 24, 12, 30, 0, 123_999, tzinfo=timezone(timedelta(hours=8)))

    assert to_rfc3339(in_china) == "2026-11-24T04:30:00.123Z"


def test_a_fixed_clock_stands_still_until_it_is_moved() -> None:
    start = datetime(2026, 11, 24, tzinfo=UTC)
    clock = FixedClock(start)

    assert clock.now() == clock.now() == start
    clock.advance(timedelta(minutes=5))
    assert clock.now() == start + timedelta(minutes=5)


def test_the_system_clock_gives_aware_instants() -> None:
    assert SystemClock().now().tzinfo is UTC
