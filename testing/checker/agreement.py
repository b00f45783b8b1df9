"""Billing, payment, notifier, the topics and the SMS gateway tell one final story."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from uuid import UUID

from testing.checker.story import Books, Request, World
from testing.checker.violations import Kind, Violation

# billing's status of a request → what payment may call the order then
SAME = {"OPEN": ("REQUESTED",), "SETTLED": ("SETTLED", "REFUNDED"), "FAILED": ("FAILED",)}
PAID = ("PAID", "CREDITED", "CREDIT_REFUSED")
# event type → the channels by which notifier tells people of it
TOLD_BY = {
    "ContributionAssessed": ("inbox",),
    "PaymentRequested": ("inbox",),
    "PaymentDelayed": ("inbox", "sms"),
    "PaymentSettled": ("inbox", "sms"),
    "PaymentFailed": ("inbox", "sms"),
    "PaymentRefunded": ("inbox", "sms"),
}


def violations(books: Books, world: World, *, sms_per_message_max: int) -> Iterator[Violation]:
    yield from _orders(world)
    yield from _contributions(world)
    yield from _topics(world)
    yield from _notifications(world)
    yield from _sms(books, world, sms_per_message_max)


def _orders(world: World) -> Iterator[Violation]:
    requests = {request.order_id: request for request in world.requests}
    for order in world.orders:
        request = requests.get(order.id)
        if request is None:
            yield Violation(Kind.SERVICES_DISAGREE, str(order.id), "billing never asked for it")
        elif order.status not in SAME[request.status] or order.attempt_id != request.attempt_id:
            yield Violation(
                Kind.SERVICES_DISAGREE,
                str(order.id),
                f"billing says {request.status} by {request.attempt_id},"
                f" payment {order.status} by {order.attempt_id}",
            )
        if order.has_settled != (order.id in world.settled_at_notifier):
            yield Violation(
                Kind.SERVICES_DISAGREE,
                str(order.id),
                f"settled is {order.has_settled} at payment and not so at notifier",
            )


def _contributions(world: World) -> Iterator[Violation]:
    requests: dict[UUID, list[Request]] = defaultdict(list)
    for request in world.requests:
        requests[request.contribution_id].append(request)
    refunded = {order.id for order in world.orders if order.status == "REFUNDED"}
    for contribution in world.contributions:
        paying = {
            request.attempt_id
            for request in requests[contribution.id]
            if request.status == "SETTLED" and request.order_id not in refunded
        }
        is_paid = contribution.status in PAID
        expected = {contribution.paid_by_attempt_id} if is_paid else set()
        is_pending = contribution.status == "PAYMENT_PENDING"
        if paying != expected and not is_pending:
            named = ", ".join(map(str, paying)) or "nobody"
            yield Violation(
                Kind.SERVICES_DISAGREE,
                str(contribution.id),
                f"it is {contribution.status} by {contribution.paid_by_attempt_id},"
                f" its requests were settled by {named}",
            )
        is_open = any(request.status == "OPEN" for request in requests[contribution.id])
        if is_pending != is_open:
            yield Violation(
                Kind.SERVICES_DISAGREE,
                str(contribution.id),
                f"it is {contribution.status}, and an open request is {is_open}",
            )


def _topics(world: World) -> Iterator[Violation]:
    """The topics tell the outcomes that payment has, and no others."""
    told: dict[str, set[UUID]] = defaultdict(set)
    for record in world.records:
        told[record.type].add(record.subject)
    in_tables = {
        "PaymentSettled": {order.id for order in world.orders if order.has_settled},
        "PaymentFailed": {order.id for order in world.orders if order.has_failed},
        "PaymentRequested": {request.order_id for request in world.requests},
        "ContributionAssessed": {contribution.id for contribution in world.contributions},
    }
    for event_type, ids in in_tables.items():
        for subject in ids - told[event_type]:
            yield Violation(Kind.TOPIC_DISAGREES, str(subject), f"{event_type} is in no topic")
        for subject in told[event_type] - ids:
            yield Violation(Kind.TOPIC_DISAGREES, str(subject), f"{event_type} is not so")


def _notifications(world: World) -> Iterator[Violation]:
    rows = Counter((row.event_id, row.channel, row.person_id) for row in world.notifications)
    for (event_id, channel, person_id), count in rows.items():
        if count > 1:
            yield Violation(
                Kind.NOTIFICATION_DOUBLED, str(event_id), f"{count} by {channel} to {person_id}"
            )
    recorded = {(event_id, channel) for event_id, channel, _ in rows}
    types = {record.event_id: record.type for record in world.records}
    for event_id, event_type in types.items():
        for channel in TOLD_BY.get(event_type, ()):
            if (event_id, channel) not in recorded:
                yield Violation(
                    Kind.NOTIFICATION_MISSING, str(event_id), f"{event_type} by {channel}"
                )


def _sms(books: Books, world: World, per_message_max: int) -> Iterator[Violation]:
    statuses = {row.id: row.status for row in world.notifications if row.channel == "sms"}
    sent = Counter(books.sms)
    for reference, count in sent.items():
        if count > per_message_max:
            yield Violation(
                Kind.SMS_DOUBLED, str(reference), f"{count} messages, at most {per_message_max}"
            )
        if statuses.get(reference) in (None, "QUEUED", "SUPPRESSED", "OVERTAKEN"):
            yield Violation(
                Kind.SMS_INVENTED, str(reference), f"notifier says {statuses.get(reference)}"
            )
    for reference, status in statuses.items():
        if status == "DELIVERED" and reference not in sent:
            yield Violation(Kind.SMS_LOST, str(reference), "delivered, says notifier alone")
