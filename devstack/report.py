"""What `up` and `down` tell the person who waits: one line per step, with the time since start."""

import sys
import threading
import time
from typing import TextIO


class Report:
    """Prints steps; safe to use from several threads."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def step(self, subject: str, text: str) -> None:
        seconds = time.monotonic() - self._began
        with self._lock:
            self._stream.write(f"{seconds:6.1f} s  {subject:<16} {text}\n")
            self._stream.flush()


class Silence(Report):
    """For callers that want no output, such as tests."""

    def step(self, subject: str, text: str) -> None:
        pass
