"""A TCP proxy in front of PostgreSQL that cuts connections between COMMIT and its answer."""

import asyncio
import contextlib
import threading

CHUNK = 65536
START_SECONDS = 10.0


class CommitCutter:
    """Forwards everything, in a thread; `cut(n)` swallows the next n answers to COMMIT."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._left = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._port = 0

    @property
    def left(self) -> int:
        """Answers that are still to be cut off."""
        return self._left

    def start(self) -> int:
        """The port to connect to instead."""
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise TimeoutError("the proxy did not start")
        return self._port

    def cut(self, count: int) -> None:
        self._left = count

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(START_SECONDS)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()

    async def _connected(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            client_writer.close()
            return
        cutting = asyncio.Event()
        answering = asyncio.create_task(_pump(server_reader, client_writer, cutting))
        try:
            await self._questions(client_reader, server_writer, cutting)
        finally:
            server_writer.close()
            client_writer.close()
            answering.cancel()

    async def _questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cutting: asyncio.Event
    ) -> None:
        """Until one side ends, or a COMMIT was forwarded whose answer nobody shall see."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                cuts = b"COMMIT" in data and self._left > 0
                if cuts:
                    self._left -= 1
                    cutting.set()
                writer.write(data)
                await writer.drain()
                if cuts:
                    # The server has it and commits; its answer is read by nobody.
                    await asyncio.sleep(0.2)
                    return


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cutting: asyncio.Event
) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            if cutting.is_set():
                return
            writer.write(data)
            await writer.drain()
    writer.close()
