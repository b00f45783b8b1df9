"""The events: one JSON Schema per type and version, and one table of all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from documents.markers import table
from shared.kernel.events import (
    EVENT_TYPES,
    ChannelsChanged,
    ContributionAssessed,
    Event,
    MoneyAccepted,
    MoneyRejected,
    PaymentDelayed,
    PaymentFailed,
    PaymentOutcomeAsked,
    PaymentRefunded,
    PaymentRequested,
    PaymentSettled,
    UnexpectedMoneyReceived,
)

FOLDER = Path("docs/events")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Route:
    """Who tells an event to whom, and of which row its sequence is the version."""

    source: str
    targets: tuple[str, ...]
    row: str


ROUTES: Mapping[type[Event], Route] = {
    ContributionAssessed: Route("billing", ("notifier",), "contribution"),
    PaymentRequested: Route("billing", ("payment", "notifier"), "payment request"),
    PaymentOutcomeAsked: Route("billing", ("payment",), "payment request (+1 with each ask)"),
    PaymentDelayed: Route("payment", ("notifier",), "payment order"),
    PaymentSettled: Route("payment", ("billing", "notifier"), "payment order"),
    PaymentFailed: Route("payment", ("billing", "notifier"), "payment order"),
    UnexpectedMoneyReceived: Route("payment", ("billing",), "payment attempt (+1 with each ask)"),
    MoneyAccepted: Route("billing", ("payment",), "money decision"),
    MoneyRejected: Route("billing", ("payment",), "money decision"),
    PaymentRefunded: Route("payment", ("billing", "notifier"), "refund"),
    ChannelsChanged: Route("payment", ("billing",), "channel list (+1 with each announcement)"),
}

INTRODUCTION = """\
# Events

Written from `shared/kernel/events.py` by `make docs`; a test keeps both identical. The record key
is the insured person's id; `ChannelsChanged` is about nobody, and its key is the id of its list.
The body is JSON, and the envelope travels in the record's headers (CloudEvents 1.0, Kafka protocol
binding, binary content mode).

| header | holds |
| --- | --- |
| `ce_specversion` | `1.0` |
| `ce_id` | event id: derived from type, row and sequence, so the same fact always has the same id |
| `ce_type` | the event type, a name of the table below |
| `ce_source` | `songhe/<service>` |
| `ce_time` | when it was first told, RFC 3339, UTC |
| `ce_subject` | id of the row that it tells about |
| `content-type` | `application/json` |
| `sequence` | version of that row; ascending per row within a topic, with gaps |
| `schema_version` | version of the body's schema |
| `correlation_id` | one per saga |
| `causation_id` | id of the event that caused this one, if one did |
| `traceparent` | W3C trace context, if there is one |

Changes are additive only: unknown fields are ignored, a breaking change is a new type. Between
topics any order may arrive. A consumer skips types that it does not handle.

"""


def documents() -> dict[Path, str]:
    """Path below the project's root → content."""
    schemas = {
        FOLDER / f"{name}.v{kind.version}.json": json.dumps(schema_of(kind), indent=2) + "\n"
        for name, kind in EVENT_TYPES.items()
    }
    return {**schemas, FOLDER / "README.md": INTRODUCTION + _overview()}


def schema_of(kind: type[Event]) -> dict[str, Any]:
    """The JSON Schema of a body, whole in one document."""
    _, parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    schema = parts.pop(kind.__name__)
    return {
        "$schema": DIALECT,
        "$id": f"urn:songhe:event:{kind.type}:{kind.version}",
        **schema,
        **({"$defs": parts} if parts else {}),
    }


def event_table() -> str:
    """Event, way and meaning; for the saga's own page."""
    return table(
        ("event", "from → to", "means"),
        [(f"`{n}`", _way(k), _meaning(k)) for n, k in EVENT_TYPES.items()],
    )


def _overview() -> str:
    rows = [
        (
            f"[`{name}`]({name}.v{kind.version}.json)",
            f"`{kind.topic}`",
            _way(kind),
            _meaning(kind),
            ROUTES[kind].row,
            ", ".join(f"`{field}`" for field in kind.__struct_fields__),
        )
        for name, kind in EVENT_TYPES.items()
    ]
    return table(("event", "topic", "from → to", "means", "sequence of", "body"), rows) + "\n"


def _way(kind: type[Event]) -> str:
    return f"{ROUTES[kind].source} → {', '.join(ROUTES[kind].targets)}"


def _meaning(kind: type[Event]) -> str:
    return " ".join((kind.__doc__ or "").split())
