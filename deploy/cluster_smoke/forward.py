"""A port of this machine that leads into the cluster, also after the pod behind it has died."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.kubectl import NAMESPACE, program

RESTART_SECONDS = 0.5
OPEN_SECONDS = 30.0


@contextmanager
def forwarded(target: str, port: int) -> Iterator[str]:
    """The URL under which `target` is reached, such as `svc/entry`."""
    local = _free_port()
    stopping = threading.Event()
    thread = threading.Thread(target=_keep, args=(target, local, port, stopping), daemon=True)
    thread.start()
    try:
        _until_open(local)
        yield f"http://127.0.0.1:{local}"
    finally:
        stopping.set()
        thread.join(10)


def _keep(target: str, local: int, port: int, stopping: threading.Event) -> None:
    while not stopping.is_set():
        forward = subprocess.Popen(
            [program(), "port-forward", "-n", NAMESPACE, target, f"{local}:{port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while forward.poll() is None and not stopping.wait(RESTART_SECONDS):
            pass
        forward.terminate()
        forward.wait(10)


def _until_open(port: int) -> None:
    deadline = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RESTART_SECONDS)
        else:
            return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
