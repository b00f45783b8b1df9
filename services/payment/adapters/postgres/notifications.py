"""What channels told by themselves, each notification once."""

from collections.abc import Sequence

from services.payment.application.ports import HeardNotification
from shared.runtime.database.set_statements import Columns, binds, insert
from shared.runtime.database.statements import Connection

NOTIFICATION: Columns = {
    "channel": "text",
    "notification_id": "text",
    "attempt_id": "uuid",
    "answer": "text",
    "occurred_at": "timestamptz",
    "received_at": "timestamptz",
    "body_sha256": "bytea",
}
CLAIM = insert(
    "channel_notification",
    NOTIFICATION,
    "ON CONFLICT DO NOTHING RETURNING channel, notification_id",
)


class PostgresNotifications:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, heard: Sequence[HeardNotification]) -> set[tuple[str, str]]:
        # In one order everywhere: two processes that claim the same ones must not lock crosswise.
        rows = sorted((_notification_row(one) for one in heard), key=_key)
        claimed = await self._connection.execute(CLAIM, binds(NOTIFICATION, rows))
        return {(row.channel, row.notification_id) for row in claimed}


def _notification_row(heard: HeardNotification) -> dict[str, object]:
    told = heard.notification
    return {
        "channel": heard.channel,
        "notification_id": told.notification_id,
        "attempt_id": heard.attempt_id,
        "answer": type(told.answer).__name__.lower() if told.answer else "nothing",
        "occurred_at": told.occurred_at,
        "received_at": heard.received_at,
        "body_sha256": heard.body_sha256,
    }


def _key(row: dict[str, object]) -> tuple[str, str]:
    return str(row["channel"]), str(row["notification_id"])
