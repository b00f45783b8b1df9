"""Sends HTTP requests that are bytes already, each at its own time, whatever the server does.

Cheap on purpose: what the generator uses is not there for the server on the same cores.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

# A channel sends from many machines at once; what is due beyond that waits, and its time runs.
CONNECTIONS = 128
# What the server has not answered then is taken for unanswered.
ANSWER_SECONDS = 30.0
TICK_SECONDS = 0.001


@dataclass(slots=True)
class Sent:
    """What became of the requests, by place; seconds since the start, None without an answer."""

    began_at: datetime
    answered_at: list[float | None]
    statuses: list[int]
    bodies: list[bytes]
    late_seconds_max: float = 0.0


@dataclass(slots=True)
class OpenLoop:
    """Offers `requests` to one server at a constant rate."""

    host: str
    port: int
    requests: Sequence[bytes]
    rate: float
    connections: int = CONNECTIONS
    sent: Sent = field(init=False)
    _idle: list["_Connection"] = field(default_factory=list)
    _waiting: deque[int] = field(default_factory=deque)
    _opening: set[asyncio.Task[None]] = field(default_factory=set)
    _open: set["_Connection"] = field(default_factory=set)
    _began: float = field(init=False)
    _missing: int = field(init=False)
    _all_answered: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._missing = count = len(self.requests)
        self.sent = Sent(datetime.now(UTC), [None] * count, [0] * count, [b""] * count)

    async def run(self) -> Sent:
        """Until all are answered, or `ANSWER_SECONDS` after the last one was due."""
        self.sent.began_at, self._began = datetime.now(UTC), asyncio.get_running_loop().time()
        await self._offer()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._all_answered.wait()
        except TimeoutError:
            self._waiting.clear()
        for connection in list(self._open):
            connection.close()
        return self.sent

    async def _offer(self) -> None:
        next_place, count = 0, len(self.requests)
        while next_place < count:
            now = asyncio.get_running_loop().time() - self._began
            due = min(count, int(now * self.rate) + 1)
            if due > next_place:
                late = now - next_place / self.rate
                self.sent.late_seconds_max = max(self.sent.late_seconds_max, late)
                self._waiting.extend(range(next_place, due))
                next_place = due
            self._send_waiting()
            await asyncio.sleep(TICK_SECONDS)

    def _send_waiting(self) -> None:
        while self._idle and self._waiting:
            connection = self._idle.pop()
            if connection.is_usable:
                place = self._waiting.popleft()
                connection.send(place, self.requests[place])
        wanted = len(self._waiting) - len(self._opening)
        room = self.connections - len(self._open) - len(self._opening)
        for _ in range(min(wanted, room)):
            opening = asyncio.create_task(self._connect())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self), self.host, self.port
        )
        self._open.add(connection)
        self._idle.append(connection)
        self._send_waiting()

    def answered(self, connection: "_Connection", place: int, status: int, body: bytes) -> None:
        self.sent.answered_at[place] = asyncio.get_running_loop().time() - self._began
        self.sent.statuses[place], self.sent.bodies[place] = status, body
        self._idle.append(connection)
        self._send_waiting()
        self._missing -= 1
        if not self._missing:
            self._all_answered.set()

    def ended(self, connection: "_Connection", place: int | None) -> None:
        """The server let go of the connection; what it did not begin to answer is sent again."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if place is not None and not self._all_answered.is_set():
            self._waiting.appendleft(place)
            self._send_waiting()


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load: OpenLoop) -> None:
        self._load = load
        self._place: int | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, since uvloop's transports are no children of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)

    @property
    def is_usable(self) -> bool:
        """False where the server has let go, and this side is about to notice."""
        return not self._transport.is_closing()

    def send(self, place: int, request: bytes) -> None:
        self._place, self._received = place, b""
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        answer = parse_answer(self._received)
        place = self._place
        if answer is not None and place is not None:
            self._place = None
            self._load.answered(self, place, *answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.ended(self, None if self._received else self._place)


def parse_answer(received: bytes) -> tuple[int, bytes] | None:
    """Status and body of one HTTP/1.1 answer; None while it is not complete."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    status_line, *lines = head.split(b"\r\n")
    length = 0
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if len(body) < length:
        return None
    return int(status_line.split(b" ", 2)[1]), body[:length]
