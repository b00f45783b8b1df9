"""The events of the saga: bodies, envelope, and how both travel in a Kafka record.

The envelope is CloudEvents 1.0 in Kafka's binary mode (headers `ce_…`); the body is JSON.
Changes are additive only: a breaking change is a new event type. No personal data, ids only.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Generic, TypeVar
from uuid import UUID

import msgspec

from shared.kernel.clock import to_rfc3339
from shared.kernel.errors import Malformed

Fen = Annotated[int, msgspec.Meta(ge=0, le=10_000_000_000, description="1/100 yuan")]
Period = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", max_length=7)]
Region = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6}$", max_length=6)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]+$", max_length=64)]
# PostgreSQL stores no NUL
ShortText = Annotated[str, msgspec.Meta(pattern=r"^[^\u0000]+$", max_length=128)]
Whole = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]+$", max_length=20)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]

# Sequences are kept in bigint columns.
SEQUENCE_MAX = 2**63 - 1

CONTRIBUTIONS_TOPIC = "billing.contributions"
ORDERS_TOPIC = "payment.orders"
PEOPLE_TOPIC = "identity.people"

Headers = tuple[tuple[str, bytes], ...]

# The channels that are declared: payment has an adapter for each, and billing knows no other.
CHANNEL_IDS = ("alipay", "wechatpay", "bank-direct-debit")
# Stands for the channel of an order whose payer has yet to choose one.
CHOSEN_BY_PAYER = "chosen-by-payer"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The body of one event type.

    `version` moves only with what an older reader must not ignore: it refuses a newer version, and
    old and new processes run side by side. Fields that it may ignore come without.
    """

    type: ClassVar[str]
    version: ClassVar[int] = 1
    topic: ClassVar[str]

    @property
    def record_key(self) -> str:
        """What its records are keyed by: events with one key keep their order within a topic."""
        raise NotImplementedError


class PersonEvent(Event, frozen=True, kw_only=True):
    """An event about one insured person; all that is about the same person keeps its order."""

    insured_person_id: UUID

    @property
    def record_key(self) -> str:
        return str(self.insured_person_id)


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a contribution that goes to one account."""

    account: Name
    amount_fen: Fen


class ContributionAssessed(PersonEvent, frozen=True, kw_only=True):
    """An amount is owed for a period."""

    type: ClassVar[str] = "ContributionAssessed"
    topic: ClassVar[str] = CONTRIBUTIONS_TOPIC

    contribution_id: UUID
    scheme: Name
    region: Region
    period: Period
    base_fen: Fen
    amount_fen: Fen
    currency: Name
    shares: tuple[Share, ...]
    rule_id: ShortText
    provisional: bool
    supersedes: UUID | None = None


class PaymentRequested(PersonEvent, frozen=True, kw_only=True):
    """The payer confirmed: an order with this id must be opened."""

    type: ClassVar[str] = "PaymentRequested"
    topic: ClassVar[str] = CONTRIBUTIONS_TOPIC

    payment_order_id: UUID
    contribution_id: UUID
    payer_id: UUID
    amount_fen: Fen
    currency: Name
    scheme: Name
    region: Region
    period: Period
    channel: Name | None = None
    expires_at: Instant


class PaymentOutcomeAsked(PaymentRequested, frozen=True, kw_only=True):
    """No outcome came in time: answer again. Carries the whole request."""

    type: ClassVar[str] = "PaymentOutcomeAsked"

    ask_count: Annotated[int, msgspec.Meta(ge=1)]


class PaymentDelayed(PersonEvent, frozen=True, kw_only=True):
    """The channel reported no outcome by the promised time; a later time is promised."""

    type: ClassVar[str] = "PaymentDelayed"
    topic: ClassVar[str] = ORDERS_TOPIC

    payment_order_id: UUID
    contribution_id: UUID
    payer_id: UUID
    amount_fen: Fen
    currency: Name
    attempt_id: UUID
    channel: Name
    next_update_by: Instant
    region: Region | None = None
    asked_at: Instant | None = None


class PaymentSettled(PersonEvent, frozen=True, kw_only=True):
    """The channel confirmed receipt as final.

    `asked_at`, `confirmed_at`: from when to when only the channel could act: from our call, or at
    a cashier from the payer's payment, to its confirmation here. None: late money, older rows.
    """

    type: ClassVar[str] = "PaymentSettled"
    topic: ClassVar[str] = ORDERS_TOPIC

    payment_order_id: UUID
    contribution_id: UUID
    payer_id: UUID
    amount_fen: Fen
    currency: Name
    attempt_id: UUID
    channel: Name
    channel_trade_no: ShortText
    settled_at: Instant
    region: Region | None = None
    asked_at: Instant | None = None
    confirmed_at: Instant | None = None


class PaymentFailed(PersonEvent, frozen=True, kw_only=True):
    """Collecting this order has stopped; later money takes the unexpected-money way.

    `channel` is None where the payer had the choice.
    """

    type: ClassVar[str] = "PaymentFailed"
    topic: ClassVar[str] = ORDERS_TOPIC

    payment_order_id: UUID
    contribution_id: UUID
    payer_id: UUID
    amount_fen: Fen
    currency: Name
    reason: Name
    can_retry: bool
    channel: Name | None = None
    region: Region | None = None


class UnexpectedMoneyReceived(PersonEvent, frozen=True, kw_only=True):
    """Money came for an order that is not open, or a second time through another order."""

    type: ClassVar[str] = "UnexpectedMoneyReceived"
    topic: ClassVar[str] = ORDERS_TOPIC

    payment_order_id: UUID
    contribution_id: UUID
    payer_id: UUID
    attempt_id: UUID
    amount_fen: Fen
    currency: Name
    channel: Name


class MoneyAccepted(PersonEvent, frozen=True, kw_only=True):
    """Unexpected money pays the contribution: still owed, exact amount, no open order."""

    type: ClassVar[str] = "MoneyAccepted"
    topic: ClassVar[str] = CONTRIBUTIONS_TOPIC

    payment_order_id: UUID
    contribution_id: UUID
    attempt_id: UUID


class MoneyRejected(MoneyAccepted, frozen=True, kw_only=True):
    """Unexpected money is not owed: send it back."""

    type: ClassVar[str] = "MoneyRejected"


class PaymentRefunded(PersonEvent, frozen=True, kw_only=True):
    """Money went back, finally."""

    type: ClassVar[str] = "PaymentRefunded"
    topic: ClassVar[str] = ORDERS_TOPIC

    refund_id: UUID
    payment_order_id: UUID
    contribution_id: UUID
    payer_id: UUID
    attempt_id: UUID
    amount_fen: Fen
    currency: Name
    reason: Name


class ChannelOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What one channel can take. Without `regions` it takes every region.

    `on`: new payments may begin there; `off_because` says why not: `stopped` by the kill switch,
    or `not_configured`. `charges_from`: no account is debited there before.
    """

    id: Name
    name_zh: ShortText
    name_en: ShortText
    on: bool
    off_because: Name | None = None
    min_amount_fen: Fen
    max_amount_fen: Fen
    regions: tuple[Region, ...] | None = None
    needs_mandate: bool = False
    charges_from: Instant | None = None


class ChannelsChanged(Event, frozen=True, kw_only=True):
    """What each channel can take now: at each change and every 5 min, to be believed for 15."""

    type: ClassVar[str] = "ChannelsChanged"
    topic: ClassVar[str] = ORDERS_TOPIC

    # About nobody: the key is the id of the one list.
    channel_list_id: UUID
    # Takes the orders that name no channel.
    default_channel: Name
    channels: tuple[ChannelOffer, ...]

    @property
    def record_key(self) -> str:
        return str(self.channel_list_id)


EVENT_TYPES: dict[str, type[Event]] = {
    event.type: event
    for event in (
        ContributionAssessed,
        PaymentRequested,
        PaymentOutcomeAsked,
        PaymentDelayed,
        PaymentSettled,
        PaymentFailed,
        UnexpectedMoneyReceived,
        MoneyAccepted,
        MoneyRejected,
        PaymentRefunded,
        ChannelsChanged,
    )
}

Body = TypeVar("Body", bound=Event, covariant=True)


class Envelope(msgspec.Struct, frozen=True):
    """What surrounds a body: CloudEvents attributes plus order, cause and trace.

    `sequence` is the version of the row that the event tells about (`subject`); per aggregate
    first occurrences arrive in ascending sequence, with gaps.
    """

    event_id: UUID
    type: str
    source: str
    time: datetime
    subject: UUID
    sequence: int
    schema_version: int
    correlation_id: UUID
    causation_id: UUID | None
    traceparent: str | None


class Message(msgspec.Struct, Generic[Body], frozen=True):
    """One event as a use case sees it."""

    envelope: Envelope
    body: Body


_encoder = msgspec.json.Encoder(order="deterministic")
_decoders = {name: msgspec.json.Decoder(event) for name, event in EVENT_TYPES.items()}


def encode_body(body: Event) -> bytes:
    """The JSON of a body; the same body always gives the same bytes."""
    return _encoder.encode(body)


def header_pairs(envelope: Envelope) -> list[tuple[str, str]]:
    """CloudEvents 1.0, Kafka protocol binding, binary content mode; names and values as text."""
    pairs = [
        ("ce_specversion", "1.0"),
        ("ce_id", str(envelope.event_id)),
        ("ce_type", envelope.type),
        ("ce_source", envelope.source),
        ("ce_time", to_rfc3339(envelope.time)),
        ("ce_subject", str(envelope.subject)),
        ("content-type", "application/json"),
        ("sequence", str(envelope.sequence)),
        ("schema_version", str(envelope.schema_version)),
        ("correlation_id", str(envelope.correlation_id)),
    ]
    if envelope.causation_id is not None:
        pairs.append(("causation_id", str(envelope.causation_id)))
    if envelope.traceparent is not None:
        pairs.append(("traceparent", envelope.traceparent))
    return pairs


def encode_headers(envelope: Envelope) -> Headers:
    """The same as they travel in a record."""
    return tuple((name, value.encode()) for name, value in header_pairs(envelope))


def event_type_of(headers: Iterable[tuple[str, bytes]]) -> str | None:
    """The type a record names, or None where it names none; never raises."""
    for name, value in headers:
        if name == "ce_type":
            # Kafka allows a header without a value, whatever the client's types say
            return value.decode(errors="replace") if value is not None else None
    return None


def event_id_of(headers: Iterable[tuple[str, bytes]]) -> UUID | None:
    """The event id a record carries, or None where it cannot be read; never raises."""
    for name, value in headers:
        if name == "ce_id":
            try:
                return UUID(value.decode())
            except (ValueError, UnicodeDecodeError, AttributeError):
                return None
    return None


def decode(headers: Sequence[tuple[str, bytes]], body: bytes | None) -> Message[Event]:
    """Read one record of a known type.

    Raises Malformed for a missing or damaged header, an unknown type or version, or a body
    that breaks its schema. Unknown fields of the body are ignored: additions are allowed.
    """
    envelope = _decode_envelope(headers)
    known = EVENT_TYPES.get(envelope.type)
    if known is None:
        raise Malformed(f"unknown event type {envelope.type[:64]!r}")
    if not 1 <= envelope.schema_version <= known.version:
        raise Malformed(f"unknown version {envelope.schema_version} of {envelope.type}")
    try:
        return Message(envelope, _decoders[envelope.type].decode(body or b""))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"{envelope.type}: {error}") from error


class _EnvelopeHeaders(msgspec.Struct):
    """The headers of an envelope as one schema: converting all at once is what keeps it cheap."""

    ce_id: UUID
    ce_type: str
    ce_source: str
    ce_time: Instant
    ce_subject: UUID
    sequence: Whole
    schema_version: Whole
    correlation_id: UUID
    causation_id: UUID | None = None
    traceparent: str | None = None


def _decode_envelope(headers: Sequence[tuple[str, bytes]]) -> Envelope:
    try:
        found = {name: value.decode() for name, value in headers}
        read = msgspec.convert(found, _EnvelopeHeaders)
        sequence = int(read.sequence)
        if not 0 <= sequence <= SEQUENCE_MAX:
            raise ValueError("sequence is out of range")
        return Envelope(
            event_id=read.ce_id,
            type=read.ce_type,
            source=read.ce_source,
            time=read.ce_time.astimezone(UTC),
            subject=read.ce_subject,
            sequence=sequence,
            schema_version=int(read.schema_version),
            correlation_id=read.correlation_id,
            causation_id=read.causation_id,
            traceparent=read.traceparent,
        )
    except (msgspec.ValidationError, ValueError, OverflowError, AttributeError) as error:
        raise Malformed(f"damaged or missing header: {error}") from error
