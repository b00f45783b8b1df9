"""How the kill switches stand, as one process shows it; starting an attempt asks the table."""

import asyncio
import logging
from collections.abc import Sequence

from services.payment.adapters.metrics import CHANNEL_STOPPED
from services.payment.adapters.postgres.switches import PostgresSwitches
from services.payment.domain.switch import NONE_STOPPED, Stopped
from shared.runtime.database.database import Database
from shared.runtime.ground.waiting import wait_for_any

log = logging.getLogger(__name__)

# What people are shown may be so old; no payment is started on its word.
LOOK_SECONDS = 2.0


class SwitchBoard:
    """A Component: looks at the table from time to time, and outlives a database that is away."""

    name = "channel_switches"

    def __init__(self, database: Database, channels: Sequence[str]) -> None:
        self._database = database
        self._channels = channels
        self.stopped: Stopped = NONE_STOPPED

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self.look()
            await wait_for_any(stopping, timeout_seconds=LOOK_SECONDS)

    async def look(self) -> None:
        try:
            async with self._database.transaction() as unit:
                self.stopped = await PostgresSwitches(unit.connection).stopped()
        except Exception as error:  # noqa: BLE001 - shown is what was known before
            log.warning("switches_not_read: %s", type(error).__name__)
        for channel in self._channels:
            CHANNEL_STOPPED.labels(channel).set(channel in self.stopped)
