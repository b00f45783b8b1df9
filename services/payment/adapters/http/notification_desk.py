"""Notifications that arrive together share one transaction; each is answered after its commit."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from services.payment.application.hear_notifications import Hearing, hear_notifications
from services.payment.application.ports import Channels, HeardNotification, Transactions
from shared.kernel.clock import Clock
from shared.kernel.errors import Unavailable
from shared.runtime.ground import crash_points

# One statement stays small, and a channel that floods us is told to come back.
TOGETHER_MAX = 100
WAITING_MAX = 2_000


@dataclass(slots=True)
class _Waiting:
    heard: HeardNotification
    told: asyncio.Future[Hearing]


@dataclass(slots=True, kw_only=True)
class NotificationDesk:
    """While one transaction runs, what arrives gathers for the next: nobody waits for company.

    `is_transient` tells whether a failed transaction may succeed later; after any other failure
    each notification is tried alone, so that one never holds up the rest.
    """

    transactions: Transactions
    channels: Channels
    clock: Clock
    is_transient: Callable[[BaseException], bool]
    _waiting: list[_Waiting] = field(default_factory=list)
    _working: asyncio.Task[None] | None = None

    async def hear(self, heard: HeardNotification) -> Hearing:
        """What became of it; returns when that is committed. Raises the error that prevented it."""
        if len(self._waiting) >= WAITING_MAX:
            raise Unavailable("notifications_full", "Send it again later.")
        told: asyncio.Future[Hearing] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(heard, told))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await told

    async def _work(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting[:TOGETHER_MAX], self._waiting[TOGETHER_MAX:]
            await self._hear(together)

    async def _hear(self, together: list[_Waiting]) -> None:
        try:
            async with self.transactions() as unit:
                hearings = await hear_notifications(
                    unit,
                    [waiting.heard for waiting in together],
                    channels=self.channels,
                    now=self.clock.now(),
                )
                crash_points.reach("notification.before_commit")
            crash_points.reach("notification.after_commit_before_acknowledgement")
        except Exception as error:  # noqa: BLE001 - told to each that waits
            await self._after_failure(together, error)
            return
        for waiting, hearing in zip(together, hearings, strict=True):
            if not waiting.told.done():
                waiting.told.set_result(hearing)

    async def _after_failure(self, together: list[_Waiting], error: Exception) -> None:
        if len(together) > 1 and not self.is_transient(error):
            for alone in together:
                await self._hear([alone])
            return
        for waiting in together:
            if not waiting.told.done():
                waiting.told.set_exception(error)
