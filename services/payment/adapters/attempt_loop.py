"""The loop that runs attempts, as a Component that ends with nothing under way."""

import asyncio

from services.payment.application.run_attempts import AttemptRunner
from shared.runtime.due_loop import DueLoop

# For what other processes opened; what our own dispatch opened wakes the loop.
IDLE_SECONDS = 0.1


class AttemptLoop(DueLoop):
    """Stops claiming when it is told to stop, then waits for the calls under way."""

    def __init__(self, runner: AttemptRunner, *, wake: asyncio.Event | None = None) -> None:
        super().__init__("attempts", runner.step, idle_seconds=IDLE_SECONDS, wake=wake)
        self._runner = runner

    async def run(self, stopping: asyncio.Event) -> None:
        await super().run(stopping)
        await self._runner.drain()
