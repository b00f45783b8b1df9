"""What payment announced of its channels, in PostgreSQL; guarded by the announcement's sequence."""

from uuid import UUID

import msgspec

from services.billing.domain.channel_choice import KnownChannels
from shared.kernel.events import ChannelOffer
from shared.runtime.database.statements import Connection, text

# One list today; if payment ever announced another, the newest would count.
KNOWN = text(
    "SELECT default_channel, CAST(offers AS text) AS offers, announced_at FROM channel_list"
    " ORDER BY announced_at DESC LIMIT 1"
)
SAVE = text(
    """
    INSERT INTO channel_list (id, sequence, default_channel, offers, announced_at)
    VALUES (:id, :sequence, :default_channel, CAST(CAST(:offers AS text) AS jsonb), :announced_at)
    ON CONFLICT (id) DO UPDATE SET
        sequence = excluded.sequence, default_channel = excluded.default_channel,
        offers = excluded.offers, announced_at = excluded.announced_at
    WHERE channel_list.sequence < excluded.sequence
    """
)

_offers = msgspec.json.Decoder(tuple[ChannelOffer, ...])


class ChannelRows:
    """The projection as one transaction sees it; reading takes no lock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def known(self) -> KnownChannels | None:
        row = (await self._connection.execute(KNOWN)).mappings().one_or_none()
        if row is None:
            return None
        return KnownChannels(
            default_channel=row["default_channel"],
            offers=_offers.decode(row["offers"]),
            announced_at=row["announced_at"],
        )

    async def save(self, list_id: UUID, sequence: int, known: KnownChannels) -> None:
        await self._connection.execute(
            SAVE,
            {
                "id": list_id,
                "sequence": sequence,
                "default_channel": known.default_channel,
                "offers": msgspec.json.encode(known.offers).decode(),
                "announced_at": known.announced_at,
            },
        )
