"""The kill switches: every turn is a row, the newest of a channel counts."""

from services.payment.domain.switch import Stopped, Switch
from shared.runtime.database.statements import Connection, text

STOPPED = text(
    """
    SELECT channel FROM (
        SELECT DISTINCT ON (channel) channel, is_stopped FROM channel_switch
        ORDER BY channel, id DESC
    ) AS newest WHERE is_stopped
    """
)
NEWEST_SWITCHES = text(
    "SELECT DISTINCT ON (channel) channel, is_stopped, switched_by, why, switched_at"
    " FROM channel_switch ORDER BY channel, id DESC"
)
SWITCH = text(
    "INSERT INTO channel_switch (channel, is_stopped, switched_by, why, switched_at)"
    " VALUES (:channel, :is_stopped, :switched_by, :why, :switched_at)"
)


class PostgresSwitches:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def stopped(self) -> Stopped:
        found = await self._connection.execute(STOPPED)
        return Stopped(frozenset(row.channel for row in found))

    async def newest(self) -> dict[str, Switch]:
        """How each channel that was ever switched stands, with who did it, when and why."""
        found = await self._connection.execute(NEWEST_SWITCHES)
        return {row["channel"]: Switch(**row) for row in found.mappings()}

    async def turn(self, switch: Switch) -> None:
        await self._connection.execute(
            SWITCH,
            {
                "channel": switch.channel,
                "is_stopped": switch.is_stopped,
                "switched_by": switch.switched_by,
                "why": switch.why,
                "switched_at": switch.switched_at,
            },
        )
