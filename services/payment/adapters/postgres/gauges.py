"""Counts of what is open in payment, for an SRE to watch."""

from services.payment.adapters.metrics import (
    ATTEMPTS_OPEN,
    LATE_ASKS_OVERDUE_SECONDS,
    OLDEST_UNKNOWN_SECONDS,
    UNDECIDED_MONEY,
)
from shared.runtime.database.database import Database
from shared.runtime.database.statements import text

OPEN = text(
    """
    SELECT channel, status, count(*) AS attempts,
           coalesce(extract(epoch FROM now() - min(unknown_since)), 0) AS oldest_seconds
    FROM payment_attempt WHERE status IN ('STARTED', 'AWAITING_PAYER', 'UNKNOWN')
    GROUP BY channel, status
    """
)
UNDECIDED = text(
    "SELECT count(*) AS attempts FROM payment_attempt"
    " WHERE unexpected_sequence > 0 AND decision IS NULL"
)
LATE = text(
    "SELECT greatest(coalesce(extract(epoch FROM now() - min(due_at)), 0), 0) AS overdue_seconds"
    " FROM payment_attempt WHERE status IN ('DECLINED', 'CLOSED') AND due_at IS NOT NULL"
)


class PaymentGauges:
    """One step measures once; run it in a DueLoop."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> int:
        """Returns 0: there is never more to do at once."""
        async with self._database.transaction() as unit:
            found = (await unit.connection.execute(OPEN)).all()
            undecided = (await unit.connection.execute(UNDECIDED)).one()
            late = (await unit.connection.execute(LATE)).one()
        ATTEMPTS_OPEN.clear()
        for row in found:
            ATTEMPTS_OPEN.labels(row.channel, row.status).set(row.attempts)
        OLDEST_UNKNOWN_SECONDS.set(max((float(row.oldest_seconds) for row in found), default=0.0))
        UNDECIDED_MONEY.set(undecided.attempts)
        LATE_ASKS_OVERDUE_SECONDS.set(float(late.overdue_seconds))
        return 0
