"""A circuit per channel and process: after failures in a row, calls are skipped for a while.

Then one call at a time tries again; the first that succeeds closes the circuit.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.payment.adapters.metrics import CHANNEL_CIRCUIT_OPEN

# One slow answer is no outage; five in a row with nothing between them is.
FAILURES_MAX = 5
# Long enough to spare a channel in trouble, short enough that payers hardly see its end late.
OPEN_SECONDS = 10.0


class Passage:
    """One call under way; a call that does not say that it succeeded has failed."""

    succeeded = False


class Circuit:
    def __init__(self, channel: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures = 0
        self._open_until = 0.0
        self._is_trying = False
        self._gauge = CHANNEL_CIRCUIT_OPEN.labels(channel)
        self._gauge.set(0)

    @property
    def is_open(self) -> bool:
        """Whether calls are skipped now; False again as soon as one may try."""
        return self._failures >= FAILURES_MAX and self._now() < self._open_until

    @contextmanager
    def call(self) -> Iterator[Passage | None]:
        """Around one call: None where it must not go out, else how to say that it succeeded."""
        if not self._lets_through():
            yield None
            return
        passage = Passage()
        try:
            yield passage
        finally:
            # Also after a cancellation: whoever ran out of patience saw a failure.
            self._record(passage.succeeded)

    def _lets_through(self) -> bool:
        if self._failures < FAILURES_MAX:
            return True
        if self.is_open or self._is_trying:
            return False
        self._is_trying = True
        return True

    def _record(self, succeeded: bool) -> None:
        self._is_trying = False
        self._failures = 0 if succeeded else self._failures + 1
        if self._failures >= FAILURES_MAX:
            self._open_until = self._now() + OPEN_SECONDS
        self._gauge.set(int(self._failures >= FAILURES_MAX))
