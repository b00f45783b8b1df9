"""The relay's lease: at most one active relay per service, on the database's time."""

import time
from datetime import timedelta
from uuid import UUID

from shared.runtime.database.statements import Connection, text

LEASE = timedelta(seconds=10)

# Not now(): that is when the transaction began, and the marking before may have taken long. The
# lease must not end earlier than this machine believes.
TAKE = text(
    """
    INSERT INTO relay_turn AS held (owner, until)
    VALUES (:owner, clock_timestamp() + CAST(:duration AS interval))
    ON CONFLICT (one) DO UPDATE
        SET owner = :owner, until = clock_timestamp() + CAST(:duration AS interval)
    WHERE held.owner = :owner OR held.until < clock_timestamp()
    RETURNING owner
    """
)
RELEASE = text("UPDATE relay_turn SET until = clock_timestamp() WHERE owner = :owner")


class Lease:
    """Held until `until`; a holder stops sending at half life.

    One whose clock or network stalls has then stopped long before another may start.
    """

    def __init__(self, owner: UUID, *, duration: timedelta = LEASE) -> None:
        self.owner = owner
        self.duration = duration
        self._send_until = float("-inf")

    @property
    def seconds_to_send(self) -> float:
        """How long sending is still allowed, by this machine's monotonic clock."""
        return max(0.0, self._send_until - time.monotonic())

    async def take(self, connection: Connection) -> bool:
        """Take or renew the lease; False while another relay holds it.

        It counts once the transaction is committed: where that fails, call `forget`.
        """
        asked_at = time.monotonic()
        row = (
            await connection.execute(TAKE, {"owner": self.owner, "duration": self.duration})
        ).first()
        if row is None:
            self.forget()
            return False
        self._send_until = asked_at + self.duration.total_seconds() / 2
        return True

    def forget(self) -> None:
        """Send nothing more before the lease was taken again."""
        self._send_until = float("-inf")

    async def release(self, connection: Connection) -> None:
        """Let a standby relay take over at once."""
        self.forget()
        await connection.execute(RELEASE, {"owner": self.owner})
