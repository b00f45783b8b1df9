"""Counts of what is open in billing, for an SRE to watch."""

from services.billing.adapters.metrics import OLDEST_OVERDUE_SECONDS, REQUESTS_OPEN
from shared.runtime.database.database import Database
from shared.runtime.database.statements import text

# Only open orders are read: their partial index holds no others.
OPEN = text(
    """
    SELECT count(*) AS requests,
           coalesce(greatest(extract(epoch FROM now() - min(expires_at)), 0), 0)::float8
               AS overdue_seconds
    FROM payment_request WHERE status = 'OPEN'
    """
)


class BillingGauges:
    """One step measures once; run it in a DueLoop."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> int:
        """Returns 0: there is never more to do at once."""
        async with self._database.transaction() as unit:
            found = (await unit.connection.execute(OPEN)).one()
        REQUESTS_OPEN.set(found.requests)
        OLDEST_OVERDUE_SECONDS.set(found.overdue_seconds)
        return 0
