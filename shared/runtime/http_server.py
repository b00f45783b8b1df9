"""uvicorn as a Component: no signal handlers of its own, and an end within its deadline."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

# Below the grace of the process, so that pools close in time; streams end by themselves.
GRACEFUL_SECONDS = 8


class HttpServer:
    """Serves `app` until it is told to stop; requests in flight may finish."""

    def __init__(
        self, app: ASGIApp, host: str, port: int, *, name: str, lifespan: Literal["on", "off"]
    ) -> None:
        self.name = name
        self.port = port
        self._host = host
        self._config = uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            lifespan=lifespan,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
            ws="none",
        )

    async def run(self, stopping: asyncio.Event) -> None:
        listening = _listen(self._host, self.port)
        self.port = listening.getsockname()[1]
        server = _Server(self._config)
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
    app: ASGIApp,
    host: str,
    port: int,
    *,
    name: str = "http",
    lifespan: Literal["on", "off"] = "on",
) -> HttpServer:
    """The application as a Component; port 0 takes a free one, told by `.port` once it runs."""
    return HttpServer(app, host, port, name=name, lifespan=lifespan)


class _Server(uvicorn.Server):
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
    return socket.create_server((host, port), family=family, backlog=2048)
