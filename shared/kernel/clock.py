"""Instants are aware and UTC; business dates and months are those of Asia/Shanghai."""

from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


class Clock(Protocol):
    """Where business deadlines get the time from; leases use the database's instead."""

    def now(self) -> datetime: ...


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def shanghai_month(instant: datetime) -> str:
    """The calendar month `YYYY-MM` in China at this instant."""
    return instant.astimezone(SHANGHAI).strftime("%Y-%m")


def to_rfc3339(instant: datetime) -> str:
    """`2026-11-24T04:30:00.123Z`: UTC, milliseconds."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
