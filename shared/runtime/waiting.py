"""Waits that end: at an event, or at their deadline."""

import asyncio


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
