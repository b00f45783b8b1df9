"""Waits that end: at an event, at their deadline, or when the process is told to stop."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Stopping(Exception):
    """The process is told to stop; what was under way is given up."""


async def wait_for_any(*events: asyncio.Event, timeout_seconds: float) -> bool:
    """Wait until one of the events is set; False when the time ran out first."""
    if any(event.is_set() for event in events):
        return True
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(
            tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        return bool(done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def unless_stopping(stopping: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`; once `stopping` is set it is cancelled and Stopping is raised.

    For waits on others that have no deadline of their own, or one that is too long for a stop.
    """
    working = asyncio.ensure_future(work)
    told = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((working, told), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Stopping
    finally:
        told.cancel()
        working.cancel()
        await asyncio.gather(told, working, return_exceptions=True)
