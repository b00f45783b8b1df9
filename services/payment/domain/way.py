"""A way to pay: a channel and a method. Who comes back to one goes on with its attempt there.

One trade number can be paid once, so going on is safe; what a channel does not know yet takes no
room, since nobody can close it there. Its money, should it ever come, is late money.
"""

from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from services.payment.domain.channel import Capabilities
from services.payment.domain.payment_attempt import AttemptStatus, PaymentAttempt
from services.payment.domain.payment_order import PaymentOrder

# The one in use, and one before it that its channel is just closing.
OPEN_ATTEMPTS_MAX = 2


class Hindrance(StrEnum):
    """Why nobody may begin to pay the order for a while."""

    OUTCOME_UNKNOWN = "outcome_unknown"
    ATTEMPTS_OPEN = "attempts_open"


def own_attempt(
    open_attempts: Iterable[PaymentAttempt], *, channel: str, method: str
) -> PaymentAttempt | None:
    """The open attempt of this way that its payer goes on with: the newest that is wanted."""
    own = [
        attempt
        for attempt in open_attempts
        if (attempt.channel, attempt.method) == (channel, method)
        and attempt.status is not AttemptStatus.UNKNOWN
    ]
    return max(own, key=_by_wish_and_age, default=None)


def hindrance(
    open_attempts: Sequence[PaymentAttempt], own: PaymentAttempt | None
) -> Hindrance | None:
    """What stands in the way of going on with `own`, or of beginning where that is None."""
    if own is not None and own.close_wanted_at is None:
        return None
    if any(attempt.may_have_paid for attempt in open_attempts):
        return Hindrance.OUTCOME_UNKNOWN
    if own is None and len(in_the_way(open_attempts)) >= OPEN_ATTEMPTS_MAX:
        return Hindrance.ATTEMPTS_OPEN
    return None


def in_the_way(open_attempts: Iterable[PaymentAttempt]) -> list[PaymentAttempt]:
    """Those that count against the limit: their channels know them, or were not asked yet."""
    return [attempt for attempt in open_attempts if not attempt.is_absent]


def has_time(order: PaymentOrder, channel: Capabilities, now: datetime) -> bool:
    """Whether the channel would still take the order's expiry."""
    return now + channel.shortest_expiry <= order.expires_at


def is_payable(
    order: PaymentOrder,
    attempts: Iterable[PaymentAttempt],
    cashiers: Iterable[Capabilities],
    *,
    stopped: Container[str],
    now: datetime,
) -> bool:
    """Whether there is a way at one of these channels by which paying works now."""
    open_attempts = [attempt for attempt in attempts if attempt.is_open]
    return any(
        hindrance(open_attempts, own_attempt(open_attempts, channel=channel.id, method=method.id))
        is None
        for channel in cashiers
        if channel.id not in stopped and channel.takes(order.amount)
        if order.is_open and has_time(order, channel, now)
        for method in channel.methods
    )


def _by_wish_and_age(attempt: PaymentAttempt) -> tuple[bool, datetime, bytes]:
    return attempt.close_wanted_at is None, attempt.created_at, attempt.id.bytes
