"""Each aggregate's events are a path of its state table, told in ascending sequence."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import pairwise
from uuid import UUID

from testing.checker.story import Record, World
from testing.checker.violations import Kind, Violation

LETTERS = {
    "ContributionAssessed": "C",
    "PaymentRequested": "R",
    "PaymentOutcomeAsked": "A",
    "PaymentDelayed": "D",
    "PaymentSettled": "S",
    "PaymentFailed": "F",
    "UnexpectedMoneyReceived": "U",
    "MoneyAccepted": "Y",
    "MoneyRejected": "N",
    "PaymentRefunded": "B",
    "ChannelsChanged": "O",
}
# One aggregate's events in ascending sequence: a contribution, a request, an order, the
# unexpected money of an attempt, the decision about it, a refund, the list of channels.
PATH = re.compile(r"C|RA*|D+|D*(S|F|FS)|U+|[YN]|B|O+")
LATE_SETTLEMENT = "FS"


def violations(world: World, *, cut_topics: Collection[str]) -> Iterator[Violation]:
    accepted = {record.order_id for record in world.records if record.type == "MoneyAccepted"}
    for (topic, subject), records in _first_occurrences(world).items():
        yield from _path(subject, records, accepted)
        if topic not in cut_topics:
            yield from _order(subject, records)
    yield from _changed(world)


def _first_occurrences(world: World) -> dict[tuple[str, UUID], list[Record]]:
    """(topic, aggregate) → its events in log order, each where it came first."""
    seen: set[UUID] = set()
    by_aggregate: dict[tuple[str, UUID], list[Record]] = defaultdict(list)
    for record in world.records:
        if record.event_id not in seen:
            seen.add(record.event_id)
            by_aggregate[record.topic, record.subject].append(record)
    return by_aggregate


def _path(subject: UUID, records: list[Record], accepted: set[UUID | None]) -> Iterator[Violation]:
    told = sorted(records, key=lambda record: record.sequence)
    path = "".join(LETTERS.get(record.type, "?") for record in told)
    if not PATH.fullmatch(path):
        yield Violation(
            Kind.ILLEGAL_HISTORY, str(subject), " → ".join(record.type for record in told)
        )
    elif path.endswith(LATE_SETTLEMENT) and subject not in accepted:
        yield Violation(
            Kind.ILLEGAL_HISTORY, str(subject), "settled after it had failed, money never accepted"
        )


def _order(subject: UUID, records: list[Record]) -> Iterator[Violation]:
    if len({record.partition for record in records}) > 1:
        places = ", ".join(f"{record.partition}@{record.offset}" for record in records)
        yield Violation(Kind.PARTITION_CHANGED, str(subject), f"{records[0].topic}: {places}")
        return
    for before, after in pairwise(records):
        if after.sequence <= before.sequence:
            yield Violation(
                Kind.OUT_OF_ORDER,
                str(subject),
                f"{after.type} {after.sequence} came behind {before.type} {before.sequence}",
            )


def _changed(world: World) -> Iterator[Violation]:
    """What is told again is told in the same words."""
    first: dict[UUID, Record] = {}
    for record in world.records:
        told = first.setdefault(record.event_id, record)
        if _words(told) != _words(record):
            yield Violation(
                Kind.EVENT_CHANGED,
                str(record.event_id),
                f"{record.topic}/{record.partition}@{record.offset} differs from @{told.offset}",
            )


def _words(record: Record) -> tuple[object, ...]:
    return record.topic, record.type, record.subject, record.sequence, record.body
