"""Open the attempt by which a payer goes to a cashier; it is committed before any call.

At most two attempts of an order are open: the one its payer uses, and one before it that is
watched until its channel says that no money will come.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.payment.application.ports import Unit
from services.payment.domain.channel import Capabilities, ChannelKind
from services.payment.domain.payment_attempt import AttemptStatus, Call, PaymentAttempt
from services.payment.domain.payment_order import PaymentOrder, shown_anew
from services.payment.domain.refusal import CHANNEL_STOPPED, named, refused
from services.payment.domain.switch import Stopped
from shared.kernel.errors import WordedOutage

OPEN_ATTEMPTS_MAX = 2
STOPPED_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAttempt:
    """What a payer chose. `attempt_id` is used where a new attempt begins."""

    order_id: UUID
    channel: str
    method: str
    has_openid: bool
    attempt_id: UUID


async def open_attempt(
    unit: Unit, wanted: StartAttempt, *, channels: Mapping[str, Capabilities], now: datetime
) -> UUID:
    """The attempt by which the payer goes on: the open one of this channel and method, or a new.

    Every other open attempt of the order is to be closed at its channel. Raises Refused:
    `order_finished`, `order_expires_now`, `channel_unknown`, `channel_starts_itself`,
    `method_unknown`, `openid_missing`, `amount_not_taken`, `outcome_unknown` (do not pay again),
    `attempts_open`; Unavailable `channel_stopped`.
    """
    order = (await unit.orders.lock([wanted.order_id]))[wanted.order_id]
    channel = _usable_channel(order, wanted, channels, await unit.switches.stopped())
    if not order.is_open:
        raise refused("order_finished", status_of_order=order.status.value.lower())
    if now + channel.shortest_expiry > order.expires_at:
        raise refused("order_expires_now")
    open_before = await unit.cashier_attempts.lock_open(order.id)
    for attempt in open_before:
        if _is_same_way(attempt, wanted):
            return attempt.id
    if any(_may_have_paid(attempt) for attempt in open_before):
        raise refused("outcome_unknown", retry_after_seconds=5)
    if len(open_before) >= OPEN_ATTEMPTS_MAX:
        raise refused("attempts_open", retry_after_seconds=5)
    if open_before:
        await unit.cashier_attempts.want_closed([order.id], now=now)
    await unit.cashier_attempts.insert(_new_attempt(order, wanted, now))
    await unit.orders.save([(order, shown_anew(order))])
    return wanted.attempt_id


def _may_have_paid(attempt: PaymentAttempt) -> bool:
    return attempt.is_direct or attempt.status is AttemptStatus.UNKNOWN


def _is_same_way(attempt: PaymentAttempt, wanted: StartAttempt) -> bool:
    return (
        (attempt.channel, attempt.method) == (wanted.channel, wanted.method)
        and attempt.close_wanted_at is None
        and attempt.status is not AttemptStatus.UNKNOWN
    )


def _usable_channel(
    order: PaymentOrder,
    wanted: StartAttempt,
    channels: Mapping[str, Capabilities],
    stopped: Stopped,
) -> Capabilities:
    channel = channels.get(wanted.channel)
    if channel is None or not channel.usable:
        raise refused("channel_unknown")
    if channel.kind is not ChannelKind.CASHIER:
        raise refused("channel_starts_itself")
    name = channel.name
    method = channel.method(wanted.method)
    if method is None:
        raise refused("method_unknown", channel=name)
    if method.needs_openid and not wanted.has_openid:
        raise refused("openid_missing", channel=name)
    if not channel.takes(order.amount):
        raise refused(
            "amount_not_taken",
            channel=name,
            limits={"min_fen": channel.minimum.fen, "max_fen": channel.maximum.fen},
        )
    if channel.id in stopped:
        wording = named(CHANNEL_STOPPED, name)
        raise WordedOutage("channel_stopped", wording, retry_after_seconds=STOPPED_RETRY_SECONDS)
    return channel


def _new_attempt(order: PaymentOrder, wanted: StartAttempt, now: datetime) -> PaymentAttempt:
    """Never sent by the loop: whoever finds it after a crash asks."""
    return PaymentAttempt(
        id=wanted.attempt_id,
        order_id=order.id,
        channel=wanted.channel,
        method=wanted.method,
        amount=order.amount,
        status=AttemptStatus.STARTED,
        version=1,
        expires_at=order.expires_at,
        created_at=now,
        next_call=Call.QUERY,
        due_at=now,
    )
