"""Open the attempt by which a payer goes to a cashier; it is committed before any call.

At most two attempts of an order are open of which a channel knows: the one its payer uses, and one
before it that is being closed. What no channel knows is watched until it is over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from uuid import UUID

from services.payment.application.ports import Unit
from services.payment.domain.channel import Capabilities, ChannelKind
from services.payment.domain.payment_attempt import AttemptStatus, Call, PaymentAttempt
from services.payment.domain.payment_order import PaymentOrder, shown_anew
from services.payment.domain.refusal import CHANNEL_STOPPED, named, refused
from services.payment.domain.situation import CLOSING_LIMIT
from services.payment.domain.switch import Stopped
from services.payment.domain.way import Hindrance, has_time, hindrance, in_the_way, own_attempt
from shared.kernel.clock import to_rfc3339
from shared.kernel.errors import WordedOutage, WordedRefusal

# What a question to a channel that is due may take, with the wait for the loop.
ANSWER_SECONDS = 5
STOPPED_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAttempt:
    """What a payer chose. `attempt_id` is used where a new attempt begins.

    `instead_of` is an attempt of this way that its channel keeps for another first request.
    """

    order_id: UUID
    channel: str
    method: str
    has_openid: bool
    attempt_id: UUID
    instead_of: UUID | None = None


async def open_attempt(
    unit: Unit, wanted: StartAttempt, *, channels: Mapping[str, Capabilities], now: datetime
) -> UUID:
    """The attempt by which the payer goes on: the open one of this channel and method, or a new.

    Who comes back takes back the wish to close it; every other open attempt of the order is to be
    closed at its channel. Raises Refused: `order_finished`, `order_expires_now`,
    `channel_unknown`, `channel_starts_itself`, `method_unknown`, `openid_missing`,
    `amount_not_taken`, `region_not_taken`, `outcome_unknown` (do not pay again), `attempts_open`;
    Unavailable `channel_stopped`.
    """
    order = (await unit.orders.lock([wanted.order_id]))[wanted.order_id]
    channel = _usable_channel(order, wanted, channels, await unit.switches.stopped())
    if not order.is_open:
        raise refused("order_finished", status_of_order=order.status.value.lower())
    if not has_time(order, channel, now):
        closed_by = to_rfc3339(order.expires_at + CLOSING_LIMIT)
        raise refused("order_expires_now", next_update_by=closed_by)
    open_before = await unit.cashier_attempts.lock_open(order.id)
    fitting = [attempt for attempt in open_before if attempt.id != wanted.instead_of]
    own = own_attempt(fitting, channel=wanted.channel, method=wanted.method)
    hindered = hindrance(open_before, own)
    if hindered is not None:
        raise _hindered(hindered, open_before, now)
    if own is not None and own.close_wanted_at is None:
        return own.id
    if open_before:
        await unit.cashier_attempts.want_closed([order.id], now=now)
    if own is None:
        await unit.cashier_attempts.insert(_new_attempt(order, wanted, now))
    else:
        await unit.cashier_attempts.want_again(own.id, now=now)
    await unit.orders.save([(order, shown_anew(order))])
    return wanted.attempt_id if own is None else own.id


def _hindered(
    hindered: Hindrance, open_attempts: Sequence[PaymentAttempt], now: datetime
) -> WordedRefusal:
    """Says when the channel will have been asked again, and by when the person hears more."""
    if hindered is Hindrance.ATTEMPTS_OPEN:
        closing = [one for one in in_the_way(open_attempts) if one.close_wanted_at is not None]
        freed_at = min((one.due_at for one in closing if one.due_at is not None), default=now)
        return refused(hindered.value, retry_after_seconds=_wait_seconds(freed_at, now))
    unknown = [attempt for attempt in open_attempts if attempt.may_have_paid]
    asked_at = max((one.due_at for one in unknown if one.due_at is not None), default=now)
    promise = max((one.promised_until for one in unknown if one.promised_until), default=None)
    return refused(
        hindered.value,
        retry_after_seconds=_wait_seconds(asked_at, now),
        next_update_by=to_rfc3339(promise) if promise else None,
    )


def _wait_seconds(asked_at: datetime, now: datetime) -> int:
    return max(ceil((asked_at - now).total_seconds()), 0) + ANSWER_SECONDS


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
    if not channel.serves(order.region):
        raise refused("region_not_taken", channel=name)
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
