"""Every metric of the platform that more than one service has, on one registry.

Labels are bounded: no ids, phone numbers, raw paths or error texts. Counters that an alert
watches are declared at zero, so that a rate exists before the first event.
"""

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from shared.kernel.transitions import State, Transitions

REGISTRY = CollectorRegistry(auto_describe=True)
CONTENT_TYPE = CONTENT_TYPE_LATEST

# The goals are 300 ms at the 99th percentile for HTTP and 1 s from payment to settled.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)
LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)

# One time series less per histogram and counter; nothing here reads the creation times.
disable_created_metrics()  # type: ignore[no-untyped-call]
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


def _counter(name: str, documentation: str, *labels: str) -> Counter:
    return Counter(f"songhe_{name}", documentation, labels, registry=REGISTRY)


def _gauge(name: str, documentation: str, *labels: str) -> Gauge:
    return Gauge(f"songhe_{name}", documentation, labels, registry=REGISTRY)


def _histogram(
    name: str, documentation: str, *labels: str, buckets: tuple[float, ...] = SECONDS
) -> Histogram:
    return Histogram(f"songhe_{name}", documentation, labels, registry=REGISTRY, buckets=buckets)


STATE_TRANSITIONS = _counter(
    "state_transitions_total", "Moves of the state machines", "machine", "from", "to"
)

HTTP_REQUEST_SECONDS = _histogram(
    "http_request_seconds", "Time to answer, by route template", "route", "method", "code"
)
IDEMPOTENT_REPLAYS = _counter(
    "idempotent_replays_total", "Answers given again from the store", "operation"
)
IDEMPOTENCY_CONFLICTS = _counter(
    "idempotency_conflicts_total", "Keys that came again with another body", "operation"
)

OUTBOX_UNSENT = _gauge("outbox_unsent", "Outbox rows never sent so far")
OUTBOX_OLDEST_AGE_SECONDS = _gauge(
    "outbox_oldest_age_seconds", "Age of the oldest outbox row never sent"
)
RELAY_SENT = _counter("relay_sent_total", "Outbox rows that the broker acknowledged")
RELAY_SECONDS = _histogram(
    "relay_seconds",
    "From an event's transaction to the broker's acknowledgement, first sending only",
    buckets=(
        *(0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4),
        *(0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0),
    ),
)
RELAY_ERRORS = _counter("relay_errors_total", "Rounds of the relay that failed")
RELAY_LEASE_HELD = _gauge("relay_lease_held", "1 where this process is the active relay")

DISPATCH_RECORDS = _counter(
    "dispatch_records_total",
    "Records by what became of them",
    "consumer",
    "topic",
    "event_type",
    "outcome",
)
DISPATCH_BATCH_SECONDS = _histogram(
    "dispatch_batch_seconds", "Time for one batch, from decode to commit", "consumer"
)
DISPATCH_RETRIES = _counter(
    "dispatch_retries_total", "Batches and records tried again", "consumer", "kind"
)
DISPATCH_WHOLE_BATCH_FAILURES = _counter(
    "dispatch_whole_batch_failures_total",
    "Batches of which every record failed: nothing is parked, a person must look",
    "consumer",
)
CONSUMER_LAG_RECORDS = _gauge(
    "consumer_lag_records", "Records between position and end", "consumer", "topic", "partition"
)
CONSUMER_POSITION = _gauge(
    "consumer_position", "Offset of the next record to apply", "consumer", "topic", "partition"
)
POSITION_OUT_OF_LOG = _counter(
    "position_out_of_log_total", "Stored positions outside of the log", "consumer", "topic"
)
DEAD_LETTERS_OPEN = _gauge("dead_letters_open", "Unresolved dead letters", "consumer", "status")
CONTRADICTIONS = _counter("contradictions_total", "Facts that exclude each other", "consumer")
OPERATOR_ITEMS_OPEN = _gauge("operator_items_open", "Items that wait for a person", "kind")

DUE_LOOP_SECONDS = _histogram("due_loop_seconds", "Time for one step of a loop", "loop")
DUE_LOOP_ERRORS = _counter("due_loop_errors_total", "Steps of a loop that failed", "loop")

LOOP_LAG_SECONDS = _histogram(
    "loop_lag_seconds", "How late the event loop runs what is due", buckets=LAG_SECONDS
)
FORWARDED_UNREADABLE = _counter(
    "forwarded_unreadable_total", "Addresses that a trusted proxy wrote and nobody can read"
)
BUILD_INFO = _gauge("build_info", "1; what runs here", "service", "version", "revision")
SCHEMA_REVISION = _gauge(
    "schema_revision_info", "1; the migration of the database", "service", "revision"
)


def declare_transitions(table: Transitions[State]) -> None:
    """Declare each allowed move at zero."""
    for move in table.moves:
        STATE_TRANSITIONS.labels(table.machine, str(move.source), str(move.target))


def count_transitions(table: Transitions[State], moves: Mapping[tuple[State, State], int]) -> None:
    """Count so many of each move (source, target); they are committed."""
    for (source, target), count in moves.items():
        STATE_TRANSITIONS.labels(table.machine, str(source), str(target)).inc(count)


def render() -> bytes:
    """The text that Prometheus scrapes."""
    return generate_latest(REGISTRY)
