"""A loop over due rows: first try, retry and recovery after a crash are the same loop."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.runtime.ground.backoff import Backoff
from shared.runtime.ground.metrics import DUE_LOOP_ERRORS, DUE_LOOP_SECONDS
from shared.runtime.ground.waiting import wait_for_any

log = structlog.get_logger(__name__)


class DueLoop:
    """Calls `step` again at once while it finds work, else after `idle_seconds` or a wake-up.

    `step` returns how many rows it took. An error is logged, counted and followed by a growing
    pause; it never ends the process, since the rows stay due.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[int]],
        *,
        idle_seconds: float,
        wake: asyncio.Event | None = None,
    ) -> None:
        self.name = name
        self._step = step
        self._idle_seconds = idle_seconds
        self._wake = wake or asyncio.Event()
        self._backoff = Backoff(first_seconds=0.2, cap_seconds=10.0)

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            self._wake.clear()
            try:
                with DUE_LOOP_SECONDS.labels(loop=self.name).time():
                    taken = await self._step()
            except Exception as error:  # noqa: BLE001 - the rows stay due, whatever went wrong
                await self._pause(error, stopping)
                continue
            self._backoff.reset()
            if not taken:
                await wait_for_any(stopping, self._wake, timeout_seconds=self._idle_seconds)

    async def _pause(self, error: Exception, stopping: asyncio.Event) -> None:
        """Not ended by `wake`: each commit would try again at once what has just failed."""
        DUE_LOOP_ERRORS.labels(loop=self.name).inc()
        pause = self._backoff.next()
        log.warning("due_loop_failed", loop=self.name, error=repr(error), pause_seconds=pause)
        await wait_for_any(stopping, timeout_seconds=pause)
