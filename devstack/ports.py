"""Ports of one stack: chosen once, remembered, chosen again only when a stranger holds one."""

import hashlib
import json
import socket
from collections.abc import Iterable
from pathlib import Path

# Below the range that systems hand out to clients, so that no outgoing connection takes one.
FIRST_PORT = 20_000
BLOCK_SIZE = 40
BLOCK_COUNT = 300


def choose(file: Path, names: Iterable[str], *, in_use_by_us: Iterable[str]) -> dict[str, int]:
    """The port of every name, kept in `file`.

    A remembered port stays while our own process holds it or it is free. New ones come from a
    block that depends on the folder, so that stacks side by side start far apart even when they
    are started at the same moment.
    """
    remembered = read(file)
    running = set(in_use_by_us)
    chosen: dict[str, int] = {}
    taken = set(remembered.values())
    for name in names:
        port = remembered.get(name)
        if port is None or (name not in running and not is_free(port)):
            port = _next_free(file, taken)
        chosen[name] = port
        taken.add(port)
    if chosen != remembered:
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(chosen, indent=2) + "\n")
        fresh.replace(file)
    return chosen


def read(file: Path) -> dict[str, int]:
    """What was chosen last; nothing before the first time."""
    chosen: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    return chosen


def is_free(port: int) -> bool:
    """Whether we could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of an earlier run that still fade away do not count as taken
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _next_free(file: Path, taken: set[int]) -> int:
    digest = hashlib.sha256(str(file.parent.resolve()).encode()).digest()
    start = int.from_bytes(digest[:4], "big") % BLOCK_COUNT * BLOCK_SIZE
    size = BLOCK_SIZE * BLOCK_COUNT
    for step in range(size):
        port = FIRST_PORT + (start + step) % size
        if port not in taken and is_free(port):
            return port
    raise OSError("no free port between 20000 and 32000")
