"""Live status: one poller per process asks for all watched orders with one statement.

A stream ends when its order is finished, after a while (the page opens a new one with a new
ticket), or when the process stops; it never holds a database connection.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import structlog

from services.payment.adapters.metrics import STREAMS_OPEN
from services.payment.adapters.postgres.views import OrderView
from shared.kernel.errors import Refused, Unavailable
from shared.runtime.ground.waiting import wait_for_any

log = structlog.get_logger(__name__)

# Of the watched orders those beyond the version that was seen, and all finished ones.
ReadChanged = Callable[[Mapping[UUID, int]], Awaitable[list[OrderView]]]


class End(StrEnum):
    """Why a stream ended; the page opens a new one unless it is FINISHED."""

    FINISHED = "finished"
    RENEW = "renew"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How many streams, and their times."""

    per_process: int = 500
    per_person: int = 5
    poll_seconds: float = 0.25
    # After a failed poll: the streams live on, and the database is left alone for a moment.
    poll_again_seconds: float = 2.0
    # Proxies cut connections that are silent for 30 to 60 seconds.
    heartbeat_seconds: float = 15.0
    # A logged-out phone does not listen for ever; a new stream needs a new ticket.
    lifetime_seconds: float = 15 * 60.0


class Heartbeat:
    """Nothing has changed, and the stream is alive."""


Told = OrderView | Heartbeat | End


class Watch:
    """One stream: holds at most the newest state that was not sent yet."""

    def __init__(self, order_id: UUID, person_id: UUID, *, seen: int, limits: StreamLimits) -> None:
        self.order_id = order_id
        self.person_id = person_id
        self.seen = seen
        self._limits = limits
        self._newest: OrderView | None = None
        self._end: End | None = None
        self._told = asyncio.Event()

    def offer(self, view: OrderView) -> None:
        """The poller found this state."""
        if view.order.version > self.seen:
            self.seen = view.order.version
            self._newest = view
            self._told.set()
        if not view.order.is_open:
            self.end(End.FINISHED)

    def end(self, why: End) -> None:
        self._end = self._end or why
        self._told.set()

    async def tell(self) -> AsyncIterator[Told]:
        """New states and heartbeats until the end, which comes last."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._limits.lifetime_seconds
        while self._newest is not None or self._end is None:
            yield await self._next()
            if loop.time() >= ends_at:
                self.end(End.RENEW)
        yield self._end

    async def _next(self) -> OrderView | Heartbeat:
        try:
            await asyncio.wait_for(self._told.wait(), self._limits.heartbeat_seconds)
        except TimeoutError:
            return Heartbeat()
        view, self._newest = self._newest, None
        self._told.clear()
        return view or Heartbeat()


class OrderStreams:
    """All streams of this process. A Component: `run` polls for them."""

    name = "order_streams"

    def __init__(self, read_changed: ReadChanged, limits: StreamLimits) -> None:
        self.read_changed = read_changed
        self.limits = limits
        self._watches: dict[UUID, set[Watch]] = defaultdict(set)
        self._persons: Counter[UUID] = Counter()
        self._stopped = False

    def watches(self) -> list[Watch]:
        return [watch for watches in self._watches.values() for watch in watches]

    def check_room(self) -> None:
        """Raises Unavailable where this process can serve no further stream."""
        if self._stopped or self._persons.total() >= self.limits.per_process:
            raise Unavailable("streams_full", "Ask for the order again in a few seconds.")

    def open(self, order_id: UUID, person_id: UUID, *, seen: int) -> Watch:
        """A stream of what is newer than version `seen`; `close` it in any case.

        Raises Unavailable where the process is full, Refused where the person has too many.
        """
        self.check_room()
        if self._persons[person_id] >= self.limits.per_person:
            raise Refused("too_many_streams", "Close another page of yours first.", status=429)
        watch = Watch(order_id, person_id, seen=seen, limits=self.limits)
        self._watches[order_id].add(watch)
        self._persons[person_id] += 1
        STREAMS_OPEN.set(self._persons.total())
        return watch

    def close(self, watch: Watch) -> None:
        """Forget a stream; closing it twice changes nothing."""
        watches = self._watches.get(watch.order_id, set())
        if watch not in watches:
            return
        watches.remove(watch)
        if not watches:
            del self._watches[watch.order_id]
        self._persons -= Counter([watch.person_id])
        STREAMS_OPEN.set(self._persons.total())

    async def run(self, stopping: asyncio.Event) -> None:
        """Poll until the process stops, then end all streams, so that the server can close."""
        while not stopping.is_set():
            await wait_for_any(stopping, timeout_seconds=await self._poll())
        self._stopped = True
        for watch in self.watches():
            watch.end(End.STOPPING)

    async def _poll(self) -> float:
        """One statement for all streams; returns the seconds until the next."""
        seen = {
            order_id: min(watch.seen for watch in watches)
            for order_id, watches in self._watches.items()
        }
        if not seen:
            return self.limits.poll_seconds
        try:
            views = await self.read_changed(seen)
        except Exception as error:  # noqa: BLE001 - streams outlive a database that is away
            log.warning("streams_not_polled", error=type(error).__name__)
            return self.limits.poll_again_seconds
        for view in views:
            for watch in self._watches.get(view.order.id, ()):
                watch.offer(view)
        return self.limits.poll_seconds
