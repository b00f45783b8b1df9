"""A notification: one event told to one person through one channel, once and for ever."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec

from shared.kernel.ids import derived_id
from shared.kernel.transitions import Move, Transitions


class Channel(StrEnum):
    """How a person is told."""

    INBOX = "inbox"
    SMS = "sms"


class Role(StrEnum):
    """What the bill is to the person who reads about it."""

    INSURED = "insured"
    PAYER = "payer"


class OrderOutcome(StrEnum):
    """What became of an order; one that failed may still settle."""

    SETTLED = "settled"
    FAILED = "failed"


class Status(StrEnum):
    """Where a notification is. DELIVERED is the provider's word, never our guess."""

    QUEUED = "QUEUED"
    SUBMITTED = "SUBMITTED"
    DELIVERED = "DELIVERED"
    UNDELIVERABLE = "UNDELIVERABLE"
    UNKNOWN = "UNKNOWN"
    SUPPRESSED = "SUPPRESSED"
    OVERTAKEN = "OVERTAKEN"


SMS_STATES = Transitions(
    "notification",
    Status,
    Status.QUEUED,
    [
        Move(Status.QUEUED, Status.SUBMITTED, "committed, then handed to the provider"),
        Move(Status.QUEUED, Status.SUPPRESSED, "too old to be of use, or nowhere to send to"),
        Move(Status.QUEUED, Status.OVERTAKEN, "an outcome of the same order made it untrue"),
        Move(Status.SUBMITTED, Status.DELIVERED, "the provider says so"),
        Move(Status.SUBMITTED, Status.UNDELIVERABLE, "the provider says so"),
        Move(Status.SUBMITTED, Status.UNKNOWN, "asked and sent within bounds without an answer"),
    ],
)

# An inbox entry is delivered by being recorded: it is born at its end and never moves.
FIRST_STATUS = {Channel.INBOX: Status.DELIVERED, Channel.SMS: SMS_STATES.initial}


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a template may say besides the bill's month; kept with the notification.

    `next_update_by`: the words are of use until then only.
    """

    amount_fen: int
    reason: str | None = None
    can_retry: bool = False
    provisional: bool = False
    replaces_earlier: bool = False
    next_update_by: datetime | None = None


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What the notifier remembers of a contribution; it never changes."""

    contribution_id: UUID
    scheme: str
    region: str
    period: str


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One row as it is recorded first. It holds ids and facts, no personal data."""

    event_id: UUID
    template: str
    channel: Channel
    person_id: UUID
    role: Role
    contribution_id: UUID
    payment_order_id: UUID | None
    facts: Facts
    occurred_at: datetime

    @property
    def id(self) -> UUID:
        """Derived, so that the same notification has the same id however often it is told of."""
        return derived_id(self.event_id, f"{self.channel}:{self.person_id}")

    @property
    def first_status(self) -> Status:
        return FIRST_STATUS[self.channel]


class Told(Protocol):
    """What every text is made from, in the inbox and in an SMS."""

    @property
    def template(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def payment_order_id(self) -> UUID | None: ...
    @property
    def bill(self) -> Bill | None: ...
    @property
    def facts(self) -> Facts: ...
    @property
    def occurred_at(self) -> datetime: ...


def sms_template(told: Told) -> str:
    """The name of the text at the gateway, where nothing in a text can be conditional."""
    name = told.template
    if name == "payment_failed" and not told.facts.can_retry:
        name += "_final"
    return f"{name}_payer" if told.role is Role.PAYER else name
