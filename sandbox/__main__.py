"""`python -m sandbox`: one process, one book, until SIGTERM or SIGINT."""

import asyncio
import signal
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from sandbox.app import build_app
from sandbox.book import Book, open_book
from sandbox.channels import CashierChannels
from sandbox.faults.faults import Faults
from sandbox.rsa import KeysUnreadable, read_alipay_keys, read_wechatpay_keys
from sandbox.settings import SandboxSettings, SettingsRefused, load_settings

SHUTDOWN_SECONDS = 5
# Longer than any client keeps an idle connection, so that no request meets our closing.
KEEP_ALIVE_SECONDS = 75


class SandboxServer(uvicorn.Server):
    """uvicorn that lets go of held calls when it stops, and ends with exit code 0."""

    def __init__(self, config: uvicorn.Config, *, faults: Faults) -> None:
        super().__init__(config)
        self._faults = faults

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again at the end, which reads as a crash.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._faults.release()
        await super().shutdown(sockets)


def main() -> int:
    try:
        settings = load_settings()
    except SettingsRefused as refused:
        return _refuse(str(refused))
    try:
        book = open_book(settings.data_dir)
    except (OSError, sqlite3.Error) as error:
        return _refuse(f"SONGHE_SANDBOX_DATA_DIR cannot hold the sandbox's book ({error}).")
    try:
        faults = Faults(book, seed=settings.seed)
        channels = _channels(settings, book, faults)
        config = uvicorn.Config(
            build_app(settings, book=book, faults=faults, channels=channels),
            host=settings.http_host,
            port=settings.http_port,
            log_level=settings.log_level,
            access_log=False,  # paths and queries hold phone numbers
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            server_header=False,
        )
        SandboxServer(config, faults=faults).run()
    except KeysUnreadable as error:
        return _refuse(f"SONGHE_SANDBOX_CHANNEL_KEYS_DIR is wrong ({error}).")
    finally:
        book.close()
    return 0


def _channels(settings: SandboxSettings, book: Book, faults: Faults) -> CashierChannels | None:
    """Raises KeysUnreadable."""
    folder = settings.channel_keys_dir
    if folder is None:
        return None
    return CashierChannels(
        settings,
        book=book,
        faults=faults,
        alipay_keys=read_alipay_keys(folder / "alipay"),
        wechatpay_keys=read_wechatpay_keys(folder / "wechatpay"),
    )


def _refuse(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
