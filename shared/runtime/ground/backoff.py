"""Growing pauses with a cap and jitter."""

import random


class Backoff:
    """`next()` gives the next pause in seconds, `reset()` starts again after a success."""

    def __init__(self, *, first_seconds: float, cap_seconds: float) -> None:
        self._first_seconds = first_seconds
        self._cap_seconds = cap_seconds
        self._count = 0

    def next(self) -> float:
        # Beyond 2^16 times the first pause every sensible cap is reached.
        pause = min(self._cap_seconds, self._first_seconds * float(1 << min(self._count, 16)))
        self._count += 1
        # Jitter keeps processes that failed together from coming back together.
        return pause * random.uniform(0.75, 1.0)

    def reset(self) -> None:
        self._count = 0
