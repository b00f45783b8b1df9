"""What an SRE watches of billing: how long payers wait, and who waits for too long."""

from prometheus_client import Gauge, Histogram

from shared.runtime.ground.metrics import REGISTRY

# The goal is 1 s; the last ones are for payments that the payer finishes much later.
SETTLEMENT_SECONDS = Histogram(
    "songhe_billing_settlement_seconds",
    "Seconds from the request for a payment to its settlement in billing",
    registry=REGISTRY,
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0),
)
REQUESTS_OPEN = Gauge(
    "songhe_billing_requests_open", "Orders whose outcome billing waits for", registry=REGISTRY
)
OLDEST_OVERDUE_SECONDS = Gauge(
    "songhe_billing_oldest_overdue_seconds",
    "How long the open order that expired first has been expired without an outcome",
    registry=REGISTRY,
)
