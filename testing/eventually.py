"""Waiting for what happens elsewhere: ask often, stop at a deadline, never sleep blindly."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

Result = TypeVar("Result")

FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.05


@overload
async def eventually(
    check: Callable[[], Awaitable[Result]], within_seconds: float = ...
) -> Result: ...
@overload
async def eventually(check: Callable[[], Result], within_seconds: float = ...) -> Result: ...
async def eventually(check: Callable[[], object], within_seconds: float = 10.0) -> object:
    """Ask `check`, plain or async, until its result is true, and return that result.

    An AssertionError inside counts as "not yet"; every other error ends the wait at once. Raises
    AssertionError at the deadline, with what the last try said. A check that returns None never
    passes: one made of `assert` statements ends with `return True`.
    """
    last = "it never answered"
    pause = FIRST_PAUSE_SECONDS
    try:
        async with asyncio.timeout(within_seconds):
            while True:
                try:
                    answer = check()
                    result = await answer if inspect.isawaitable(answer) else answer
                    if result:
                        return result
                    last = f"it returned {result!r}"
                except AssertionError as error:
                    last = f"it failed: {error}"
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {within_seconds} s; {last}") from None
