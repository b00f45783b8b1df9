"""Payment's own metrics: what channels answer and how fast, and what waits for the truth."""

from prometheus_client import Counter, Gauge, Histogram

from shared.runtime.ground.metrics import REGISTRY, SECONDS

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
    "1 while calls to a channel are skipped after failures in a row",
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
LATE_ASKS_OVERDUE_SECONDS = Gauge(
    "songhe_payment_late_asks_overdue_seconds",
    "How late the oldest ask is about an attempt that ended and may have been paid since",
    registry=REGISTRY,
)
STREAMS_OPEN = Gauge(
    "songhe_payment_streams_open", "Live status streams of this process", registry=REGISTRY
)
ATTEMPTS_STARTED = Counter(
    "songhe_payment_attempts_started_total",
    "Requests of payers to begin at a cashier, by what the page was told",
    ("channel", "answer"),
    registry=REGISTRY,
)
NOTIFICATIONS = Counter(
    "songhe_channel_notifications_total",
    "Verified notifications: new ones, and those that were heard before",
    ("channel", "heard"),
    registry=REGISTRY,
)
NOTIFICATIONS_REFUSED = Counter(
    "songhe_channel_notifications_refused_total",
    "Notifications that changed nothing, by why they were not believed",
    ("channel", "reason"),
    registry=REGISTRY,
)
NOTIFICATION_SECONDS = Histogram(
    "songhe_channel_notification_seconds",
    "From a notification's arrival to our answer",
    ("channel",),
    registry=REGISTRY,
    buckets=SECONDS,
)
EVIDENCE_DROPPED = Counter(
    "songhe_channel_notification_evidence_dropped_total",
    "Refused notifications of which no evidence was kept",
    ("channel",),
    registry=REGISTRY,
)
RETURNS_ASKED = Counter(
    "songhe_payment_returns_asked_total",
    "Payers who came back and wanted to know, by what they said",
    ("said",),
    registry=REGISTRY,
)
CHANNEL_STOPPED = Gauge(
    "songhe_payment_channel_stopped",
    "1 where the kill switch lets no new payments begin",
    ("channel",),
    registry=REGISTRY,
)
