"""Payment's own metrics: what channels answer and how fast, and what waits for the truth."""

from prometheus_client import Gauge, Histogram

from shared.runtime.metrics import REGISTRY, SECONDS

CHANNEL_CALL_SECONDS = Histogram(
    "songhe_channel_call_seconds",
    "Time of one call to a channel, by what it answered",
    ("channel", "call", "answer"),
    registry=REGISTRY,
    buckets=SECONDS,
)
ATTEMPTS_OPEN = Gauge(
    "songhe_payment_attempts_open",
    "Attempts without a final answer",
    ("channel", "status"),
    registry=REGISTRY,
)
OLDEST_UNKNOWN_SECONDS = Gauge(
    "songhe_payment_oldest_unknown_seconds",
    "Age of the attempt that is unknown for the longest time",
    registry=REGISTRY,
)
UNDECIDED_MONEY = Gauge(
    "songhe_payment_undecided_money_attempts",
    "Attempts with unexpected money that billing has not decided about",
    registry=REGISTRY,
)
STREAMS_OPEN = Gauge(
    "songhe_payment_streams_open", "Live status streams of this process", registry=REGISTRY
)
