"""The daily cap on all SMS, in PostgreSQL: it must hold even after Redis was flushed."""

from datetime import datetime

from services.identity.domain.sms_limits import budget_day
from shared.runtime.database.database import Database
from shared.runtime.database.statements import text
from shared.runtime.database.unit_of_work import Item

TAKE = text(
    """
    INSERT INTO sms_budget AS budget (day, sent_count)
    SELECT CAST(:day AS date), 1 WHERE CAST(:daily_max AS integer) >= 1
    ON CONFLICT (day) DO UPDATE SET sent_count = budget.sent_count + 1
    WHERE budget.sent_count < CAST(:daily_max AS integer)
    """
)
GIVE_BACK = text(
    "UPDATE sms_budget SET sent_count = sent_count - 1 WHERE day = :day AND sent_count > 0"
)


class PostgresSmsBudget:
    """The port `SmsBudget`; a used-up budget opens one operator item per day."""

    def __init__(self, database: Database, *, daily_max: int) -> None:
        self._database = database
        self._daily_max = daily_max

    async def take(self, now: datetime) -> bool:
        day = budget_day(now)
        async with self._database.transaction() as unit:
            taken = await unit.connection.execute(TAKE, {"day": day, "daily_max": self._daily_max})
            if taken.rowcount:
                return True
            detail = f"{self._daily_max} codes were sent; nobody else can log in today"
            await unit.open_items([Item("sms_budget_used_up", day.isoformat(), detail)])
        return False

    async def give_back(self, now: datetime) -> None:
        async with self._database.transaction() as unit:
            await unit.connection.execute(GIVE_BACK, {"day": budget_day(now)})
