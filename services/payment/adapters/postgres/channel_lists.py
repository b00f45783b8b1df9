"""The list of channels as it was last announced, on PostgreSQL; guarded by its version."""

from uuid import UUID

import msgspec

from services.payment.domain.channel_offer import ChannelList, Offers
from shared.runtime.database.statements import Connection, text

FIND = text(
    "SELECT id, version, default_channel, CAST(offers AS text) AS offers, announced_at"
    " FROM channel_list WHERE id = :id"
)
INSERT = text(
    """
    INSERT INTO channel_list (id, version, default_channel, offers, announced_at)
    VALUES (:id, :version, :default_channel, CAST(CAST(:offers AS text) AS jsonb), :announced_at)
    ON CONFLICT DO NOTHING
    """
)
UPDATE = text(
    """
    UPDATE channel_list SET version = :version, default_channel = :default_channel,
        offers = CAST(CAST(:offers AS text) AS jsonb), announced_at = :announced_at
    WHERE id = :id AND version = :version_before
    """
)

_offers = msgspec.json.Decoder(Offers)


class PostgresChannelLists:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, list_id: UUID) -> ChannelList | None:
        found = (await self._connection.execute(FIND, {"id": list_id})).mappings().one_or_none()
        if found is None:
            return None
        return ChannelList(
            id=found["id"],
            version=found["version"],
            default_channel=found["default_channel"],
            offers=_offers.decode(found["offers"]),
            announced_at=found["announced_at"],
        )

    async def save(self, before: ChannelList | None, after: ChannelList) -> bool:
        row = {
            "id": after.id,
            "version": after.version,
            "default_channel": after.default_channel,
            "offers": msgspec.json.encode(after.offers).decode(),
            "announced_at": after.announced_at,
        }
        if before is None:
            saved = await self._connection.execute(INSERT, row)
        else:
            row["version_before"] = before.version
            saved = await self._connection.execute(UPDATE, row)
        return saved.rowcount == 1
