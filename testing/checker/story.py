"""What the checker looks at, as plain data that a test can write down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class History:
    """What clients were told: the acknowledged payment orders, each with its contribution."""

    orders: Mapping[UUID, UUID] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Charge:
    """One line in a channel's book: money that it took under this attempt."""

    attempt_id: UUID
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Payback:
    """One line in a channel's book: money that it gave back under this refund."""

    refund_id: UUID
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What truly happened outside. `sms` has a reference as often as a phone got the message."""

    charges: Sequence[Charge] = ()
    paybacks: Sequence[Payback] = ()
    sms: Sequence[UUID] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """A row of billing."""

    id: UUID
    status: str
    paid_by_attempt_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A payment request of billing: what it believes about an order."""

    order_id: UUID
    contribution_id: UUID
    status: str
    attempt_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A row of payment. `has_failed` and `has_settled`: those outcomes were told some time."""

    id: UUID
    contribution_id: UUID
    status: str
    amount_fen: int
    has_failed: bool
    has_settled: bool
    attempt_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A row of payment; `received_fen` is what it believes the channel took."""

    id: UUID
    order_id: UUID
    received_fen: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """A row of payment."""

    id: UUID
    attempt_id: UUID
    amount_fen: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A row of notifier; its id is the reference at the SMS gateway."""

    id: UUID
    event_id: UUID
    channel: str
    person_id: UUID
    status: str


@dataclass(frozen=True, slots=True)
class Item:
    """An open operator item."""

    service: str
    kind: str
    reference: str


@dataclass(frozen=True, slots=True)
class Letter:
    """An open dead letter."""

    service: str
    reference: str
    error: str


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An event that a service committed; `is_sent` is false while it waits, also for a resend."""

    service: str
    event_id: UUID
    is_sent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a topic, as a reader of the log sees it."""

    topic: str
    partition: int
    offset: int
    event_id: UUID
    type: str
    subject: UUID
    sequence: int
    order_id: UUID | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a consumer stands in a partition, and where the log ends."""

    consumer: str
    topic: str
    partition: int
    next_offset: int
    end_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All databases and topics at rest.

    `settled_at_notifier`: orders of which notifier heard that they are settled. `records` are in
    log order within each partition. `inbox`: consumer → claimed event ids.
    """

    contributions: Sequence[Contribution] = ()
    requests: Sequence[Request] = ()
    orders: Sequence[Order] = ()
    attempts: Sequence[Attempt] = ()
    refunds: Sequence[Refund] = ()
    notifications: Sequence[Notification] = ()
    settled_at_notifier: frozenset[UUID] = frozenset()
    items: Sequence[Item] = ()
    letters: Sequence[Letter] = ()
    blocked_keys: Sequence[tuple[str, str]] = ()
    outbox: Sequence[OutboxRow] = ()
    inbox: Mapping[str, Sequence[UUID]] = field(default_factory=dict)
    standings: Sequence[Standing] = ()
    records: Sequence[Record] = ()
