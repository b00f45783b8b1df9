"""What identity forgets: refresh tokens past their life, sessions without any, old SMS counts."""

from datetime import timedelta

from services.identity.domain.sms_limits import budget_day
from shared.kernel.clock import Clock
from shared.runtime.database.database import Database
from shared.runtime.database.statements import Statement, text

# Kept a day longer than they work, so that no process with a slow clock misses one.
MARGIN = timedelta(days=1)
# Enough to look at a quarter of SMS counts after an attack.
BUDGET_RETENTION = timedelta(days=90)
DELETE_ROWS_MAX = 5_000

DELETE_TOKENS = text(
    """
    DELETE FROM refresh_token WHERE token_hash = ANY(ARRAY(
        SELECT token_hash FROM refresh_token WHERE issued_at < :before LIMIT :row_count))
    """
)
# A session loses its last token only when that one is too old to be refreshed.
DELETE_SESSIONS = text(
    """
    DELETE FROM session WHERE id = ANY(ARRAY(
        SELECT id FROM session
        WHERE opened_at < :before
          AND NOT EXISTS (SELECT FROM refresh_token WHERE session_id = session.id)
        LIMIT :row_count))
    """
)
DELETE_BUDGETS = text("DELETE FROM sms_budget WHERE day < :before")


class IdentityHousekeeping:
    """One step for a DueLoop; small transactions, so that log-ins do not wait for it."""

    def __init__(self, database: Database, clock: Clock, *, session_idle: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._session_idle = session_idle

    async def step(self) -> int:
        """Returns how many sessions and tokens went; the loop calls again until none does."""
        now = self._clock.now()
        before = now - self._session_idle - MARGIN
        gone = await self._delete(DELETE_TOKENS, before=before, row_count=DELETE_ROWS_MAX)
        gone += await self._delete(DELETE_SESSIONS, before=before, row_count=DELETE_ROWS_MAX)
        await self._delete(DELETE_BUDGETS, before=budget_day(now) - BUDGET_RETENTION)
        return gone

    async def _delete(self, statement: Statement, **values: object) -> int:
        async with self._database.transaction() as unit:
            result = await unit.connection.execute(statement, values)
        return result.rowcount
