"""Whether a channel is slow now, as this process sees it in its own last calls."""

import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

# A person notices two seconds before a cashier opens.
SLOW_SECONDS = 2.0
# Fewer calls say nothing about the channel, older ones nothing about now.
CALLS_MIN = 5
CALLS_MAX = 20
REMEMBERED_SECONDS = 300.0


@dataclass(slots=True)
class ChannelPace:
    """Remembers the last calls of each channel: (when, whether it was late or without answer)."""

    _calls: defaultdict[str, deque[tuple[float, bool]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=CALLS_MAX))
    )

    def note(self, channel: str, *, seconds: float, is_answered: bool) -> None:
        is_late = seconds > SLOW_SECONDS or not is_answered
        self._calls[channel].append((time.monotonic(), is_late))

    def slow(self) -> frozenset[str]:
        """Channels of whose remembered calls at least half were late."""
        since = time.monotonic() - REMEMBERED_SECONDS
        return frozenset(
            channel
            for channel, calls in self._calls.items()
            if _is_slow([late for at, late in calls if at >= since])
        )


def _is_slow(late: list[bool]) -> bool:
    return len(late) >= CALLS_MIN and 2 * sum(late) >= len(late)
