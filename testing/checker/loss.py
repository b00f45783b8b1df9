"""Nothing is lost, and nothing waits for ever."""

from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID

from testing.checker.story import History, World
from testing.checker.violations import Kind, Violation

# event type → who has to react to it; the channels by which notifier tells people are elsewhere.
HANDLED: dict[str, tuple[str, ...]] = {
    "ContributionAssessed": ("notifier",),
    "PaymentRequested": ("payment", "notifier"),
    "PaymentOutcomeAsked": ("payment",),
    "PaymentDelayed": ("notifier",),
    "PaymentSettled": ("billing", "notifier"),
    "PaymentFailed": ("billing", "notifier"),
    "UnexpectedMoneyReceived": ("billing",),
    "MoneyAccepted": ("payment",),
    "MoneyRejected": ("payment",),
    "PaymentRefunded": ("billing", "notifier"),
    "ChannelsChanged": ("billing",),
}
OPEN_REQUEST, OPEN_ORDER = "OPEN", "REQUESTED"
MESSAGES_UNDER_WAY = ("QUEUED", "SUBMITTED")


def violations(history: History, world: World) -> Iterator[Violation]:
    yield from _orders(history, world)
    yield from _events(world)
    yield from _inboxes(world)
    yield from _waiting(world)


def _orders(history: History, world: World) -> Iterator[Violation]:
    """Acknowledged orders are there; every order, acknowledged or not, came to its end."""
    requests = {request.order_id: request for request in world.requests}
    orders = {order.id: order for order in world.orders}
    for order_id, contribution_id in history.orders.items():
        found = requests.get(order_id)
        if found is None or found.contribution_id != contribution_id:
            yield Violation(
                Kind.ORDER_MISSING, str(order_id), f"acknowledged for {contribution_id}"
            )
    for order_id in requests.keys() | orders.keys():
        request, order = requests.get(order_id), orders.get(order_id)
        at_billing = request.status if request else "missing"
        at_payment = order.status if order else "missing"
        if at_billing == OPEN_REQUEST or at_payment in (OPEN_ORDER, "missing"):
            yield Violation(
                Kind.ORDER_STUCK,
                str(order_id),
                f"billing has it as {at_billing}, payment as {at_payment}",
            )


def _events(world: World) -> Iterator[Violation]:
    """Committed and sent is the same set of events."""
    in_log = {record.event_id for record in world.records}
    committed = {row.event_id for row in world.outbox}
    for row in world.outbox:
        if not row.is_sent:
            yield Violation(Kind.EVENT_UNSENT, str(row.event_id), f"waits in {row.service}")
        elif row.event_id not in in_log:
            yield Violation(Kind.EVENT_LOST, str(row.event_id), f"{row.service} has sent it")
    for event_id in in_log - committed:
        yield Violation(Kind.EVENT_INVENTED, str(event_id), "nobody committed it")


def _inboxes(world: World) -> Iterator[Violation]:
    """Exactly one row per consumer and event."""
    expected: dict[str, dict[UUID, str]] = defaultdict(dict)
    for record in world.records:
        for consumer in HANDLED.get(record.type, ()):
            expected[consumer][record.event_id] = record.type
    for consumer in sorted(expected.keys() | world.inbox.keys()):
        claimed: set[UUID] = set()
        for event_id in world.inbox.get(consumer, ()):
            if event_id in claimed:
                yield Violation(Kind.INBOX_DOUBLED, str(event_id), f"claimed twice by {consumer}")
            claimed.add(event_id)
        wanted = expected[consumer]
        for event_id in wanted.keys() - claimed:
            yield Violation(
                Kind.INBOX_MISSING, str(event_id), f"{consumer} never took {wanted[event_id]}"
            )
        for event_id in claimed - wanted.keys():
            yield Violation(
                Kind.INBOX_UNKNOWN, str(event_id), f"{consumer} took what is in no topic"
            )


def _waiting(world: World) -> Iterator[Violation]:
    for told in world.notifications:
        if told.status in MESSAGES_UNDER_WAY:
            yield Violation(Kind.MESSAGE_STUCK, str(told.id), f"it is {told.status}")
    for at in world.standings:
        if at.next_offset != at.end_offset:
            yield Violation(
                Kind.CONSUMER_BEHIND,
                f"{at.consumer} {at.topic}/{at.partition}",
                f"stands at {at.next_offset}, the log ends at {at.end_offset}",
            )
    for letter in world.letters:
        yield Violation(
            Kind.LETTER_OPEN, letter.reference, f"parked by {letter.service}: {letter.error}"
        )
    for service, key in world.blocked_keys:
        yield Violation(Kind.KEY_BLOCKED, key, f"blocked at {service}")
