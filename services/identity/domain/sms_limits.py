"""How many codes are sent: to one phone, for one client address, and by all of us in one day."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from shared.kernel.clock import SHANGHAI

# What carriers allow for one signature and number; more would be dropped by them anyway
# (Aliyun SMS, frequency limits: 1 per minute, 5 per hour, 10 per day).
RESEND_AFTER = timedelta(seconds=60)
PER_PHONE_HOURLY_MAX = 5
PER_PHONE_DAILY_MAX = 10


@dataclass(frozen=True, slots=True)
class SmsLimits:
    """Counts within sliding windows; `daily_max` counts the calendar day in China."""

    daily_max: int
    per_address_hourly_max: int = 15
    resend_after: timedelta = RESEND_AFTER
    per_phone_hourly_max: int = PER_PHONE_HOURLY_MAX
    per_phone_daily_max: int = PER_PHONE_DAILY_MAX


def budget_day(instant: datetime) -> date:
    """The day whose budget an SMS at this instant comes from: Asia/Shanghai."""
    return instant.astimezone(SHANGHAI).date()


def seconds_to_next_day(instant: datetime) -> int:
    """Until the next day's budget begins; at least 1."""
    midnight = datetime.combine(budget_day(instant) + timedelta(days=1), time(), SHANGHAI)
    return max(1, int((midnight - instant).total_seconds()))
