"""What the notifier tells about: one table, event type → template, channels, order's outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.notifier.domain.notifications import (
    Bill,
    Channel,
    Facts,
    Notification,
    OrderOutcome,
    Role,
)
from shared.kernel.events import (
    ContributionAssessed,
    Event,
    Message,
    PaymentDelayed,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    PaymentSettled,
    PersonEvent,
)


@dataclass(frozen=True, slots=True)
class Announcement:
    """How one event type is told, and which outcome of its order it brings, if any."""

    template: str
    channels: tuple[Channel, ...]
    outcome: OrderOutcome | None = None


Announcements = Mapping[type[Event], Announcement]

INBOX_ONLY = (Channel.INBOX,)
INBOX_AND_SMS = (Channel.INBOX, Channel.SMS)

ANNOUNCEMENTS: Announcements = {
    ContributionAssessed: Announcement("contribution_assessed", INBOX_ONLY),
    PaymentRequested: Announcement("payment_requested", INBOX_ONLY),
    PaymentDelayed: Announcement("payment_delayed", INBOX_AND_SMS),
    PaymentSettled: Announcement("payment_settled", INBOX_AND_SMS, OrderOutcome.SETTLED),
    PaymentFailed: Announcement("payment_failed", INBOX_AND_SMS, OrderOutcome.FAILED),
    PaymentRefunded: Announcement("payment_refunded", INBOX_AND_SMS),
}

# The templates that are not true any more once an order has this outcome.
OVERTAKEN_BY: Mapping[OrderOutcome, frozenset[str]] = {
    OrderOutcome.SETTLED: frozenset({"payment_requested", "payment_delayed", "payment_failed"}),
    OrderOutcome.FAILED: frozenset({"payment_delayed"}),
}
MAY_BE_OVERTAKEN = frozenset[str]().union(*OVERTAKEN_BY.values())


def notifications_of(message: Message[Any], announcement: Announcement) -> list[Notification]:
    """Everyone who is told of this event, through every channel it goes by."""
    body = message.body
    return [
        Notification(
            event_id=message.envelope.event_id,
            template=announcement.template,
            channel=channel,
            person_id=person_id,
            role=role,
            contribution_id=body.contribution_id,
            payment_order_id=getattr(body, "payment_order_id", None),
            facts=facts_of(body),
            occurred_at=message.envelope.time,
        )
        for person_id, role in recipients_of(body)
        for channel in announcement.channels
    ]


def recipients_of(body: PersonEvent) -> list[tuple[UUID, Role]]:
    """The insured person, and the payer too where somebody else pays."""
    recipients = [(body.insured_person_id, Role.INSURED)]
    payer_id: UUID | None = getattr(body, "payer_id", None)
    if payer_id is not None and payer_id != body.insured_person_id:
        recipients.append((payer_id, Role.PAYER))
    return recipients


def facts_of(body: Event) -> Facts:
    """What the texts of this event need; TypeError for an event that is never announced."""
    match body:
        case ContributionAssessed():
            return Facts(
                amount_fen=body.amount_fen,
                provisional=body.provisional,
                replaces_earlier=body.supersedes is not None,
            )
        case PaymentRequested() | PaymentSettled():
            return Facts(amount_fen=body.amount_fen)
        case PaymentDelayed():
            return Facts(amount_fen=body.amount_fen, next_update_by=body.next_update_by)
        case PaymentFailed():
            return Facts(amount_fen=body.amount_fen, reason=body.reason, can_retry=body.can_retry)
        case PaymentRefunded():
            return Facts(amount_fen=body.amount_fen, reason=body.reason)
        case _:
            raise TypeError(f"nobody is told of {body.type}")


def bill_of(body: Event) -> Bill | None:
    """The bill an event describes: outcomes name it only by its id."""
    if isinstance(body, ContributionAssessed | PaymentRequested):
        return Bill(
            contribution_id=body.contribution_id,
            scheme=body.scheme,
            region=body.region,
            period=body.period,
        )
    return None
