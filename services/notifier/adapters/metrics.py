"""What the notifier counts; labels are template names and states, never people."""

from prometheus_client import Counter, Gauge, Histogram

from shared.runtime.ground.metrics import REGISTRY

SMS_ENDED = Counter(
    "songhe_notifications",
    "SMS notifications that reached their end, by template and state",
    ("template", "channel", "status"),
    registry=REGISTRY,
)
# From seconds to the 24 h after which nothing is sent any more.
SMS_SECONDS = Histogram(
    "songhe_notification_seconds",
    "Seconds from the event to the end of its SMS",
    ("status",),
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 86400),
    registry=REGISTRY,
)
SMS_CALLS = Counter(
    "songhe_sms_provider_calls",
    "Calls to the SMS gateway by operation and what came back",
    ("operation", "answer"),
    registry=REGISTRY,
)
CONTACT_LOOKUPS = Counter(
    "songhe_contact_lookups",
    "Where contacts came from",
    ("source",),
    registry=REGISTRY,
)
STREAM_RECORDS = Counter(
    "songhe_stream_records",
    "Records that the stream process read, by what became of them",
    ("outcome",),
    registry=REGISTRY,
)
# Over the windows of the last hour and the partitions of this process.
CHANNEL_OUTCOMES = Gauge(
    "songhe_channel_outcomes",
    "Outcomes of the last hour in this process's partitions",
    ("channel", "region", "outcome"),
    registry=REGISTRY,
)
CHANNEL_SLOW = Gauge(
    "songhe_channel_slow",
    "1 where this process finds the channel slow",
    ("channel", "region"),
    registry=REGISTRY,
)
