"""Evidence of notifications that were not believed: little of each, and not too many.

Whoever can reach the address can write here, so nothing is kept that does not fit the budget: so
many a minute, so many altogether, and none for longer than a dispute may take.
"""

import hashlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.payment.adapters.metrics import EVIDENCE_DROPPED, NOTIFICATIONS_REFUSED
from services.payment.adapters.postgres.return_tokens import DELETE_TOKENS
from services.payment.domain.channel_notification import RefusalReason
from shared.kernel.clock import Clock
from shared.runtime.database.database import Database
from shared.runtime.database.statements import text

log = logging.getLogger(__name__)

EVIDENCE_BYTES_MAX = 4_096
# Per process: enough to see an attack or a wrong key, too few to fill a disk.
KEPT_PER_MINUTE_MAX = 30
# As long as the channel's own dispute may take.
RETENTION_DAYS = 90
# Some 500 MB at worst, however many processes are flooded for however long; the newest stay.
KEPT_ROWS_MAX = 100_000
DELETED_MAX = 1_000

KEEP = text(
    """
    INSERT INTO refused_notification
        (channel, reason, body_sha256, body_bytes, evidence, received_at)
    VALUES (:channel, :reason, :body_sha256, :body_bytes, :evidence, :received_at)
    ON CONFLICT DO NOTHING
    """
)
DELETE_OLD = text(
    f"""
    DELETE FROM refused_notification WHERE id = ANY(ARRAY(
        SELECT id FROM refused_notification
        WHERE received_at < now() - interval '{RETENTION_DAYS} days' LIMIT {DELETED_MAX}))
    """
)
# Numbers have gaps, so this keeps at most so many rows, without counting them.
DELETE_BEYOND = text(
    f"""
    DELETE FROM refused_notification WHERE id = ANY(ARRAY(
        SELECT id FROM refused_notification
        WHERE id <= (SELECT max(id) FROM refused_notification) - :kept
        ORDER BY id LIMIT {DELETED_MAX}))
    """
)


@dataclass(slots=True)
class Evidence:
    """Keeps what was refused; that it cannot is never the caller's problem."""

    database: Database
    clock: Clock
    _minute: float = field(default=0.0)
    _kept: int = 0

    async def keep(self, channel: str, reason: RefusalReason, body: bytes) -> None:
        NOTIFICATIONS_REFUSED.labels(channel, reason.value).inc()
        if not self._has_room():
            EVIDENCE_DROPPED.labels(channel).inc()
            return
        row = {
            "channel": channel,
            "reason": reason.value,
            "body_sha256": hashlib.sha256(body).digest(),
            "body_bytes": len(body),
            "evidence": body[:EVIDENCE_BYTES_MAX],
            "received_at": self.clock.now(),
        }
        try:
            async with self.database.transaction() as unit:
                await unit.connection.execute(KEEP, row)
        except Exception as error:  # noqa: BLE001 - evidence is a help, not a promise
            EVIDENCE_DROPPED.labels(channel).inc()
            log.warning("evidence_not_kept: %s", type(error).__name__)

    def _has_room(self) -> bool:
        now = time.monotonic()
        if now - self._minute >= 60:
            self._minute, self._kept = now, 0
        self._kept += 1
        return self._kept <= KEPT_PER_MINUTE_MAX


def declare_refusals(channels: Iterable[str]) -> None:
    """Count from zero: an alert needs to see the first refusal, too."""
    for channel in channels:
        EVIDENCE_DROPPED.labels(channel)
        for reason in RefusalReason:
            NOTIFICATIONS_REFUSED.labels(channel, reason.value)


async def delete_old(database: Database, *, kept: int = KEPT_ROWS_MAX) -> int:
    """One round of cleaning: evidence that is old or too much, and return tokens that are over.

    Returns 1 where there may be more to delete at once, else 0.
    """
    async with database.transaction() as unit:
        deleted = [
            await unit.connection.execute(DELETE_OLD),
            await unit.connection.execute(DELETE_BEYOND, {"kept": kept}),
            await unit.connection.execute(DELETE_TOKENS),
        ]
    return int(any(result.rowcount >= DELETED_MAX for result in deleted))
