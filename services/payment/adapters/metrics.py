"""Payment's own metrics: what channels answer and how fast, and what waits for the truth."""

from prometheus_client import Counter, Gauge, Histogram

from shared.runtime.metrics import REGISTRY, SECONDS

CHANNEL_CALL_SECONDS = Histogram(
    "songhe_channel_call_seconds",
    "Time of one call to a channel, by what it answered",
    ("channel", "call", "answer"),
    registry=REGISTRY,
    buckets=SECONDS,
)
CHANNEL_NONSENSE = Counter(
    "songhe_channel_nonsense_total",
    "Answers of a channel that were none: unsigned, unreadable, or about something else",
    ("channel",),
    registry=REGISTRY,
)
CHANNEL_CIRCUIT_OPEN = Gauge(
    "songhe_channel_circuit_open",
    "1 while calls to a channel are spared after failures in a row",
    ("channel",),
    registry=REGISTRY,
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
