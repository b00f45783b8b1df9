"""When a bank account may be debited: after its owner was told, and by day."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.kernel.clock import SHANGHAI

HOURS = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DebitWindow:
    """`notice`: from the announcement to the debit. `opens`, `closes`: since midnight in China."""

    notice: timedelta
    opens: timedelta
    closes: timedelta

    def __post_init__(self) -> None:
        if not timedelta(0) <= self.opens < self.closes <= DAY or self.notice < timedelta(0):
            raise ValueError("the hours of debits must lie within one day, and end after they open")

    def first_at(self, announced_at: datetime) -> datetime:
        """The first instant at which what was announced then may be debited."""
        return self.allowed_at(announced_at + self.notice)

    def allowed_at(self, instant: datetime) -> datetime:
        """The instant itself, or the next opening."""
        local = instant.astimezone(SHANGHAI)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        if local < midnight + self.opens:
            return (midnight + self.opens).astimezone(instant.tzinfo)
        if local < midnight + self.closes:
            return instant
        return (midnight + DAY + self.opens).astimezone(instant.tzinfo)


def debit_window(*, notice: timedelta, hours: str) -> DebitWindow:
    """From `08:00-20:00`; `00:00-24:00` is all day. Raises ValueError."""
    found = HOURS.fullmatch(hours)
    if found is None:
        raise ValueError("hours look like 08:00-20:00")
    opens_hour, opens_minute, closes_hour, closes_minute = map(int, found.groups())
    return DebitWindow(
        notice=notice,
        opens=timedelta(hours=opens_hour, minutes=opens_minute),
        closes=timedelta(hours=closes_hour, minutes=closes_minute),
    )
