"""The life of one process: components run side by side and stop one after the other.

They start once the process could be ready: without its tables each would only fail in its own way.
SIGTERM or SIGINT: not ready any more, then each component in list order, then the pools.
"""

import asyncio
import gc
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

import structlog
import uvloop

from shared.kernel.errors import SongheError
from shared.runtime.ground import metrics
from shared.runtime.http.server import serve
from shared.runtime.process.health import Health, operations_app
from shared.runtime.process.settings import Address

EXIT_OK = 0
EXIT_FAILED = 1
HEARTBEAT_SECONDS = 0.5
START_POLL_SECONDS = 0.5
CLOSING_DEADLINE_SECONDS = 5.0
# A cancelled component gets this long for its own `finally`.
CANCEL_DEADLINE_SECONDS = 1.0
# How many more objects there must be than before until Python looks for cycles.
GC_NEW_OBJECTS = 20_000

log = structlog.get_logger(__name__)


class Component(Protocol):
    """A part that runs until `stopping` is set and returns soon after.

    An exception, or a return without being asked, ends the process with exit code 1.
    """

    @property
    def name(self) -> str: ...

    async def run(self, stopping: asyncio.Event) -> None: ...


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run `main` on uvloop and return its exit code."""
    _collect_less()
    return uvloop.run(main)


def _collect_less() -> None:
    """Look for cycles seldom, and never among what lives as long as the process.

    A batch makes thousands of objects that die by counting: by default Python would look through
    all that live after every 700 of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_NEW_OBJECTS, 20, 20)


async def run_process(
    components: Sequence[Component],
    *,
    closing: Sequence[Callable[[], Awaitable[None]]] = (),
    grace_seconds: float = 10.0,
    health: Health | None = None,
    operations: Address | None = None,
) -> int:
    """Run until a signal or a failure; returns the exit code.

    `grace_seconds` is for all components together: what still runs then is cancelled.
    `operations` is where metrics and health are served, until everything else has stopped.
    """
    health = health or Health()
    signals = _Signals()
    servers = [_Running(component) for component in _operations(health, operations)]
    parts: list[_Running] = []
    heart = asyncio.create_task(_beat(health), name="heartbeat")
    try:
        if await _could_be_ready(health, signals, [heart, *(part.task for part in servers)]):
            parts = [_Running(component) for component in components]
            await signals.wait_for_first([heart, *(part.task for part in servers + parts)])
        failed = any([part.has_ended_badly() for part in servers + parts])
        health.drain()
        failed |= await _stop(parts, grace_seconds, signals)
    finally:
        await _close(closing)
        await _stop(servers, CLOSING_DEADLINE_SECONDS, signals)
        heart.cancel()
    log.info("process_stopped", failed=failed)
    return EXIT_FAILED if failed else EXIT_OK


async def _could_be_ready(
    health: Health, signals: "_Signals", others: Sequence[asyncio.Task[None]]
) -> bool:
    """Wait for it; False when the process is told to stop first, or one of the tasks ended."""
    while await health.faults():
        await _first_of(signals.first, others, timeout=START_POLL_SECONDS)
        if signals.first.is_set() or any(task.done() for task in others):
            return False
    return True


class _Signals:
    """The first signal asks to stop, the second one to stop waiting."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive)

    async def wait_for_first(self, others: Iterable[asyncio.Task[None]]) -> None:
        """Until a signal came, or one of the tasks ended by itself."""
        await _first_of(self.first, others, timeout=None)

    def _receive(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


class _Running:
    """One started component and the event by which it alone is stopped."""

    def __init__(self, component: Component) -> None:
        self.name = component.name
        self.stopping = asyncio.Event()
        self.task = asyncio.create_task(component.run(self.stopping), name=component.name)
        self._is_reported = False

    def has_ended_badly(self) -> bool:
        """Whether it failed, or ended without being asked; leaves one log line for that."""
        if not self.task.done() or self._is_reported:
            return False
        self._is_reported = True
        error = None if self.task.cancelled() else self.task.exception()
        if isinstance(error, SongheError):
            log.error("component_failed", component=self.name, error=str(error))
        elif error is not None:
            log.error("component_failed", component=self.name, exc_info=error)
        elif not self.stopping.is_set():
            log.error("component_ended", component=self.name)
        return error is not None or not self.stopping.is_set()

    async def stop(self, seconds: float, impatience: asyncio.Event) -> bool:
        """Whether it failed to stop; what does not stop in time is cancelled."""
        if self.task.done():
            return self.has_ended_badly()
        self.stopping.set()
        await _first_of(impatience, [self.task], timeout=seconds)
        if self.task.done():
            return self.has_ended_badly()
        log.error("component_cancelled", component=self.name)
        self.task.cancel()
        await asyncio.wait([self.task], timeout=CANCEL_DEADLINE_SECONDS)
        return True


def _operations(health: Health, address: Address | None) -> list[Component]:
    if address is None:
        return []
    app = operations_app(health)
    # A scrape that fails is scraped again: nobody waits for its connection
    return [
        serve(app, address.host, address.port, name="operations", lifespan="off", drain_seconds=0)
    ]


async def _stop(parts: Sequence[_Running], seconds: float, signals: _Signals) -> bool:
    deadline = time.monotonic() + seconds
    failed = False
    for part in parts:
        left = max(0.0, deadline - time.monotonic())
        failed |= await part.stop(left, signals.second)
    return failed


async def _close(closing: Sequence[Callable[[], Awaitable[None]]]) -> None:
    for close in closing:
        try:
            async with asyncio.timeout(CLOSING_DEADLINE_SECONDS):
                await close()
        except Exception:
            log.error("not_closed", exc_info=True)


async def _beat(health: Health) -> None:
    """Measure how late the loop runs what is due, and tell that it runs at all."""
    while True:
        due_at = time.monotonic() + HEARTBEAT_SECONDS
        await asyncio.sleep(HEARTBEAT_SECONDS)
        metrics.LOOP_LAG_SECONDS.observe(max(0.0, time.monotonic() - due_at))
        health.beat()


async def _first_of(
    event: asyncio.Event, tasks: Iterable[asyncio.Task[None]], *, timeout: float | None
) -> None:
    told = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([told, *tasks], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
