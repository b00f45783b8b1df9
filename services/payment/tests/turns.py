"""Runs tasks step by step in a given order, so that every order of their steps can be tried."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextvars import ContextVar

# Nobody waits for anything but its turn; a task that does not arrive is a fault of the test.
STEP_SECONDS = 10

_current: ContextVar["_Player | None"] = ContextVar("player", default=None)


class _Player:
    """One task: it stops at each barrier until it is told to go on."""

    def __init__(self) -> None:
        self.may_go = asyncio.Semaphore(0)
        self.stopped = asyncio.Event()


async def barrier() -> None:
    """The end of a step; in a task that nobody plays it is nothing."""
    player = _current.get()
    if player is None:
        return
    player.stopped.set()
    await player.may_go.acquire()


async def play(tasks: Mapping[str, Awaitable[None]], order: Sequence[str]) -> None:
    """Let each task take its next step as `order` names it, then all go on to their ends.

    A name whose task has ended already is skipped.
    """
    players = {name: _Player() for name in tasks}

    async def run(name: str, work: Awaitable[None]) -> None:
        _current.set(players[name])
        await barrier()
        await work

    running = {name: asyncio.create_task(run(name, work)) for name, work in tasks.items()}
    for name, player in players.items():
        await _until_it_stops(running[name], player)
    left = [name for name in tasks for _ in range(len(order) + 1)]
    for name in (*order, *left):
        if not running[name].done():
            players[name].stopped.clear()
            players[name].may_go.release()
            await _until_it_stops(running[name], players[name])
    await asyncio.gather(*running.values())


async def _until_it_stops(task: asyncio.Task[None], player: _Player) -> None:
    stopped = asyncio.create_task(player.stopped.wait())
    done, _ = await asyncio.wait(
        (task, stopped), timeout=STEP_SECONDS, return_when=asyncio.FIRST_COMPLETED
    )
    stopped.cancel()
    assert done, "a task neither ended its step nor stopped"


def all_orders(lengths: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    """Every way to mix sequences of these lengths, each in its own order."""
    if not any(lengths.values()):
        yield ()
        return
    for name, left in lengths.items():
        if left:
            for rest in all_orders({**lengths, name: left - 1}):
                yield (name, *rest)
