"""Record who is told of an event, once per (event, channel, person), whatever arrives again."""

from collections.abc import Sequence
from typing import Any

from services.notifier.application.ports import Unit
from services.notifier.domain.announcements import (
    ANNOUNCEMENTS,
    MAY_BE_OVERTAKEN,
    Announcement,
    Announcements,
    bill_of,
    notifications_of,
)
from services.notifier.domain.deliveries import end, withdrawal
from services.notifier.domain.notifications import Channel
from shared.kernel.clock import Clock
from shared.kernel.events import Event, Message


async def record_notifications(
    unit: Unit,
    messages: Sequence[Message[Event]],
    *,
    clock: Clock,
    announcements: Announcements = ANNOUNCEMENTS,
) -> None:
    """Record the notifications of a set of events of one type.

    The end is the same in every order of arrival, also across topics: whichever of an outcome and
    an SMS that it overtakes comes second finds the first, because both lock the order.
    """
    if not messages:
        return
    announcement = announcements[type(messages[0].body)]
    now = clock.now()
    bills = [bill for message in messages if (bill := bill_of(message.body))]
    await unit.notifications.remember_bills(bills)
    order_ids = _orders_with_sms(messages, announcement)
    await unit.notifications.lock_orders(order_ids, outcome=announcement.outcome)
    told = [each for message in messages for each in notifications_of(message, announcement)]
    await unit.notifications.add(told, at=now)
    queued = await unit.notifications.queued_of_orders(order_ids, templates=MAY_BE_OVERTAKEN)
    withdrawn = [
        (delivery, end(delivery, status, now))
        for delivery in queued
        if (status := withdrawal(delivery, now)) is not None
    ]
    await unit.notifications.save(withdrawn)


def _orders_with_sms(messages: Sequence[Message[Any]], announcement: Announcement) -> list[Any]:
    """Only where an SMS is about an order is there something to withdraw."""
    if Channel.SMS not in announcement.channels:
        return []
    return sorted({message.body.payment_order_id for message in messages})
