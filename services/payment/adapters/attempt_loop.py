"""A loop that runs attempts, as a Component that ends with nothing under way."""

import asyncio

from services.payment.application.run_attempts import AttemptRunner
from shared.runtime.process.due_loop import DueLoop


class AttemptLoop(DueLoop):
    """Stops claiming when it is told to stop, then waits for the calls under way."""

    def __init__(
        self,
        name: str,
        runner: AttemptRunner,
        *,
        idle_seconds: float,
        wake: asyncio.Event | None = None,
    ) -> None:
        super().__init__(name, runner.step, idle_seconds=idle_seconds, wake=wake)
        self._runner = runner

    async def run(self, stopping: asyncio.Event) -> None:
        await super().run(stopping)
        await self._runner.drain()
