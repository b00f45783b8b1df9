"""Money is taken once, recorded in full, and what nobody owes is held for its refund."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from uuid import UUID

from testing.checker.story import Attempt, Books, Order, Refund, World
from testing.checker.violations import Kind, Violation

REFUND_DONE = "SUCCEEDED"
REFUND_DUE_ITEM = "refund_due"


def violations(books: Books, world: World) -> Iterator[Violation]:
    yield from _charges(books, world)
    yield from _settlements(world)
    yield from _held(books, world)
    yield from _sums(books, world)


def _charges(books: Books, world: World) -> Iterator[Violation]:
    """Each charge is recorded at its attempt, and no attempt was charged more than once."""
    received = {attempt.id: attempt.received_fen for attempt in world.attempts}
    charged: dict[UUID, list[int]] = defaultdict(list)
    for charge in books.charges:
        charged[charge.attempt_id].append(charge.amount_fen)
    for attempt_id, amounts in charged.items():
        if len(amounts) > 1:
            yield Violation(
                Kind.CHARGED_TWICE, str(attempt_id), f"the channel took {len(amounts)} charges"
            )
        if received.get(attempt_id) != amounts[0]:
            yield Violation(
                Kind.CHARGE_UNRECORDED,
                str(attempt_id),
                f"the channel took {amounts[0]} fen, payment recorded {received.get(attempt_id)}",
            )
    for attempt_id, amount in received.items():
        if amount is not None and attempt_id not in charged:
            yield Violation(
                Kind.CHARGE_INVENTED, str(attempt_id), f"no channel took {amount} fen for it"
            )


def _settlements(world: World) -> Iterator[Violation]:
    """At most one settled order that was not refunded per contribution."""
    settled = Counter(order.contribution_id for order in world.orders if order.status == "SETTLED")
    for contribution_id, count in settled.items():
        if count > 1:
            yield Violation(
                Kind.PAID_TWICE, str(contribution_id), f"{count} settled orders pay for it"
            )


def _held(books: Books, world: World) -> Iterator[Violation]:
    """Money that settled nothing has one refund: paid back, or with one open item."""
    refunds: dict[UUID, list[Refund]] = defaultdict(list)
    for refund in world.refunds:
        refunds[refund.attempt_id].append(refund)
    items = Counter(item.reference for item in world.items if item.kind == REFUND_DUE_ITEM)
    paid_back = {payback.refund_id: payback.amount_fen for payback in books.paybacks}
    for attempt in held_attempts(world):
        found = refunds[attempt.id]
        if len(found) != 1:
            yield Violation(
                Kind.MONEY_STUCK,
                str(attempt.id),
                f"{attempt.received_fen} fen settled nothing and have {len(found)} refunds",
            )
        elif found[0].status == REFUND_DONE:
            if paid_back.get(found[0].id) != attempt.received_fen:
                yield Violation(
                    Kind.CHARGE_UNRECORDED,
                    str(found[0].id),
                    f"refunded {attempt.received_fen} fen, the channel says"
                    f" {paid_back.get(found[0].id)}",
                )
        elif items[str(found[0].id)] != 1:
            yield Violation(
                Kind.MONEY_STUCK,
                str(found[0].id),
                f"a refund of {attempt.received_fen} fen waits with"
                f" {items[str(found[0].id)]} open items",
            )


def _sums(books: Books, world: World) -> Iterator[Violation]:
    """Charges − paybacks = settled − refunded + held."""
    outside = sum(c.amount_fen for c in books.charges) - sum(p.amount_fen for p in books.paybacks)
    refunded = sum(r.amount_fen for r in world.refunds if r.status == REFUND_DONE)
    settled = sum(order.amount_fen for order in world.orders if order.has_settled)
    held = sum(attempt.received_fen or 0 for attempt in held_attempts(world))
    inside = settled + held - refunded
    if outside != inside:
        yield Violation(
            Kind.SUMS_DIFFER,
            "all money",
            f"the channels hold {outside} fen for us, settled − refunded + held is {inside}",
        )


def held_attempts(world: World) -> list[Attempt]:
    """Attempts that received money and are not what settled their order."""
    orders: dict[UUID, Order] = {order.id: order for order in world.orders}
    return [
        attempt
        for attempt in world.attempts
        if attempt.received_fen is not None
        and (attempt.order_id not in orders or orders[attempt.order_id].attempt_id != attempt.id)
    ]
