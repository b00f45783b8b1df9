"""uvicorn as a Component: no signal handlers of its own, and an end within its deadline."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import uvicorn

from shared.kernel.errors import SongheError
from shared.runtime.http.draining import DRAIN_SECONDS, KEEP_ALIVE_SECONDS, DrainingServer

if TYPE_CHECKING:
    # A worker serves its metrics without starlette.
    from starlette.types import ASGIApp

# With the draining before it below the grace of the process, so that pools close in time;
# streams end by themselves.
GRACEFUL_SECONDS = 6


class CannotListen(SongheError):
    """The port is in use, or not ours to use; one sentence."""


class HttpServer:
    """Serves `app` until it is told to stop; requests in flight and on their way may finish."""

    def __init__(
        self,
        app: "ASGIApp",
        host: str,
        port: int,
        *,
        name: str,
        lifespan: Literal["on", "off"],
        drain_seconds: float,
    ) -> None:
        self.name = name
        self.port = port
        self._host = host
        self._drain_seconds = drain_seconds
        self._config = uvicorn.Config(
            app,
            http="h11",
            access_log=False,
            log_config=None,
            lifespan=lifespan,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
            ws="none",
        )

    async def run(self, stopping: asyncio.Event) -> None:
        listening = _listen(self._host, self.port)
        self.port = listening.getsockname()[1]
        server = _Server(self._config, drain_seconds=self._drain_seconds)
        serving = asyncio.create_task(_serve(server, listening))
        stopped = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await serving
        finally:
            stopped.cancel()
            serving.cancel()


def serve(
    app: "ASGIApp",
    host: str,
    port: int,
    *,
    name: str = "http",
    lifespan: Literal["on", "off"] = "on",
    drain_seconds: float = DRAIN_SECONDS,
) -> HttpServer:
    """The application as a Component; port 0 takes a free one, told by `.port` once it runs.

    For `drain_seconds` at most it waits until its clients have let go of idle connections.
    """
    return HttpServer(app, host, port, name=name, lifespan=lifespan, drain_seconds=drain_seconds)


class _Server(DrainingServer):
    """Signals belong to the process, not to one of its servers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(server: _Server, listening: socket.socket) -> None:
    try:
        await server.serve(sockets=[listening])
    except SystemExit:
        raise RuntimeError("the HTTP server could not start") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise CannotListen(f"Port {port} of {host} cannot be used: {reason}.") from None
