"""A loop of leased calls, as a Component that ends with nothing under way."""

import asyncio
from typing import Protocol

from shared.runtime.process.due_loop import DueLoop


class CallRunner(Protocol):
    """`LeasedCalls`, or what is built on them."""

    async def step(self) -> int: ...

    async def drain(self) -> None: ...


class CallLoop(DueLoop):
    """Stops claiming when it is told to stop, then waits for the calls under way."""

    def __init__(
        self,
        name: str,
        runner: CallRunner,
        *,
        idle_seconds: float,
        wake: asyncio.Event | None = None,
    ) -> None:
        super().__init__(name, runner.step, idle_seconds=idle_seconds, wake=wake)
        self._runner = runner

    async def run(self, stopping: asyncio.Event) -> None:
        await super().run(stopping)
        await self._runner.drain()
