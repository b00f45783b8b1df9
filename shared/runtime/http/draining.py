"""A uvicorn server that stops without failing a request that somebody has already sent.

uvicorn alone closes every idle connection and the queue of new ones at once; a request that is
just on its way over one of them ends in a reset, and its sender cannot know whether it was done.
Here clients are told first (`Connection: close`, RFC 9112 §9.6) and get time to let go.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

# Longer than any client keeps an idle connection (nginx and the usual load balancers: 60 s): a
# request that meets our closing on its way ends in a reset, and nobody knows if it was done.
KEEP_ALIVE_SECONDS = 75
# Longer than a careful client keeps an idle connection (our entry: 2 s).
DRAIN_SECONDS = 2.5
# A connection that was accepted last gets this long to bring its request.
LAST_REQUEST_SECONDS = 0.5
POLL_SECONDS = 0.02
CLOSE = (b"connection", b"close")


class DrainingServer(uvicorn.Server):
    """Needs a configuration with `http="h11"`. With `drain_seconds=0` it stops as uvicorn does.

    It stops sooner when no connection is left; the configured graceful time-out, which is for
    requests in flight, begins after the draining.
    """

    def __init__(self, config: uvicorn.Config, *, drain_seconds: float = DRAIN_SECONDS) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._drain_seconds:
            self._tell_clients_to_let_go()
            await self._wait_while(_is_idle, self._drain_seconds)
            await self._stop_listening(sockets or [])
            await self._wait_while(_is_fresh, LAST_REQUEST_SECONDS)
        await super().shutdown(sockets)

    def _tell_clients_to_let_go(self) -> None:
        """Every answer that has not begun yet is the last one on its connection."""
        state = self.server_state
        state.default_headers = [*state.default_headers, CLOSE]
        for connection in self._connections():
            if not _is_idle(connection) and not connection.cycle.response_started:
                connection.cycle.default_headers = state.default_headers

    async def _wait_while(self, holds: Callable[[H11Protocol], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(map(holds, self._connections())) and not self.force_exit:
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _stop_listening(self, sockets: Sequence[socket.socket]) -> None:
        """Closing resets what waits to be accepted, so take that in first."""
        # Through a second handle, because the event loop closes its own when it likes
        own = [one for server in self.servers for one in server.sockets]
        ours = [listening.dup() for listening in sockets or own]
        for server in self.servers:
            server.close()
        for listening in sockets:
            listening.close()
        await asyncio.sleep(POLL_SECONDS)
        last = [accepted for listening in ours for accepted in _take_in_and_close(listening)]
        loop = asyncio.get_running_loop()
        for accepted in last:
            with suppress(OSError):  # its client has gone again
                await loop.connect_accepted_socket(self._protocol, accepted)

    def _protocol(self) -> H11Protocol:
        return H11Protocol(self.config, self.server_state, self.lifespan.state)

    def _connections(self) -> Iterator[H11Protocol]:
        return (one for one in list(self.server_state.connections) if isinstance(one, H11Protocol))


def _is_fresh(connection: H11Protocol) -> bool:
    return connection.cycle is None


def _is_idle(connection: H11Protocol) -> bool:
    return _is_fresh(connection) or connection.cycle.response_complete


def _take_in_and_close(listening: socket.socket) -> list[socket.socket]:
    accepted: list[socket.socket] = []
    with listening, suppress(OSError):  # BlockingIOError: nobody waits any more
        listening.setblocking(False)
        while True:
            accepted.append(listening.accept()[0])
            accepted[-1].setblocking(False)
    return accepted
