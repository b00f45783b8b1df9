"""The relay's lease: at most one active relay per service, on the database's time."""

import time
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

LEASE = timedelta(seconds=10)

TAKE = text(
    """
    INSERT INTO relay_lease AS held (owner, until)
    VALUES (:owner, now() + CAST(:duration AS interval))
    ON CONFLICT (one) DO UPDATE SET owner = :owner, until = now() + CAST(:duration AS interval)
    WHERE held.owner = :owner OR held.until < now()
    RETURNING owner
    """
)
RELEASE = text("UPDATE relay_lease SET until = now() WHERE owner = :owner")


class Lease:
    """Held until `until`; sending stops at half life, so that a holder whose clock or network

    stalls has stopped long before another may start.
    """

    def __init__(self, owner: UUID, *, duration: timedelta = LEASE) -> None:
        self.owner = owner
        self.duration = duration
        self._send_until = float("-inf")

    @property
    def seconds_to_send(self) -> float:
        """How long sending is still allowed, by this machine's monotonic clock."""
        return max(0.0, self._send_until - time.monotonic())

    async def take(self, connection: AsyncConnection) -> bool:
        """Take or renew the lease; False while another relay holds it."""
        asked_at = time.monotonic()
        row = (
            await connection.execute(TAKE, {"owner": self.owner, "duration": self.duration})
        ).first()
        if row is None:
            self._send_until = float("-inf")
            return False
        self._send_until = asked_at + self.duration.total_seconds() / 2
        return True

    async def release(self, connection: AsyncConnection) -> None:
        """Let a standby relay take over at once."""
        self._send_until = float("-inf")
        await connection.execute(RELEASE, {"owner": self.owner})
