"""Builders of events and messages: every field has a sensible value, keywords override.

`after=` copies what an earlier event of the same saga already says (ids, amount, channel, …):
`payment_settled(after=requested)` settles exactly that request.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from shared.kernel.events import (
    ChannelOffer,
    ChannelsChanged,
    ContributionAssessed,
    Envelope,
    Event,
    Headers,
    Message,
    MoneyAccepted,
    MoneyRejected,
    PaymentDelayed,
    PaymentFailed,
    PaymentOutcomeAsked,
    PaymentRefunded,
    PaymentRequested,
    PaymentSettled,
    Share,
    UnexpectedMoneyReceived,
    encode_body,
    encode_headers,
)
from shared.kernel.ids import event_id, new_id

SOME_TIME = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)

Body = TypeVar("Body", bound=Event)

# The row whose version is the sequence of the event (its subject).
SUBJECT_FIELDS: Mapping[type[Event], str] = {
    ContributionAssessed: "contribution_id",
    PaymentRequested: "payment_order_id",
    PaymentOutcomeAsked: "payment_order_id",
    PaymentDelayed: "payment_order_id",
    PaymentSettled: "payment_order_id",
    PaymentFailed: "payment_order_id",
    UnexpectedMoneyReceived: "attempt_id",
    MoneyAccepted: "attempt_id",
    MoneyRejected: "attempt_id",
    PaymentRefunded: "refund_id",
    ChannelsChanged: "channel_list_id",
}


def contribution_assessed(*, after: Event | None = None, **fields: Any) -> ContributionAssessed:
    """A flexible worker in Shanghai on the base floor of 2026-07: 20 % of 7,546.00 yuan."""
    return _build(
        ContributionAssessed,
        after,
        fields,
        base_fen=754_600,
        shares=(
            Share(account="personal_account", amount_fen=60_368),
            Share(account="pooled", amount_fen=90_552),
        ),
        rule_id="310000-flexible-2026-07",
        provisional=False,
    )


def payment_requested(*, after: Event | None = None, **fields: Any) -> PaymentRequested:
    return _build(PaymentRequested, after, fields, expires_at=SOME_TIME + timedelta(minutes=30))


def payment_outcome_asked(*, after: Event | None = None, **fields: Any) -> PaymentOutcomeAsked:
    return _build(
        PaymentOutcomeAsked,
        after,
        fields,
        expires_at=SOME_TIME + timedelta(minutes=30),
        ask_count=1,
    )


def payment_delayed(*, after: Event | None = None, **fields: Any) -> PaymentDelayed:
    return _build(PaymentDelayed, after, fields, next_update_by=SOME_TIME + timedelta(hours=2))


def payment_settled(*, after: Event | None = None, **fields: Any) -> PaymentSettled:
    return _build(
        PaymentSettled,
        after,
        fields,
        channel_trade_no="T202611240000001",
        settled_at=SOME_TIME + timedelta(seconds=2),
    )


def payment_failed(*, after: Event | None = None, **fields: Any) -> PaymentFailed:
    return _build(PaymentFailed, after, fields, reason="insufficient_funds", can_retry=True)


def unexpected_money_received(
    *, after: Event | None = None, **fields: Any
) -> UnexpectedMoneyReceived:
    return _build(UnexpectedMoneyReceived, after, fields)


def money_accepted(*, after: Event | None = None, **fields: Any) -> MoneyAccepted:
    return _build(MoneyAccepted, after, fields)


def money_rejected(*, after: Event | None = None, **fields: Any) -> MoneyRejected:
    return _build(MoneyRejected, after, fields)


def payment_refunded(*, after: Event | None = None, **fields: Any) -> PaymentRefunded:
    return _build(PaymentRefunded, after, fields, reason="not_owed")


def channel_offer(id: str = "bank-direct-debit", **fields: Any) -> ChannelOffer:
    """A channel that is on and takes everything."""
    takes_all = {"on": True, "min_amount_fen": 1, "max_amount_fen": 10_000_000_000}
    return ChannelOffer(**{"id": id, "name_zh": "银行代扣", "name_en": id, **takes_all, **fields})


def channels_changed(*, after: Event | None = None, **fields: Any) -> ChannelsChanged:
    return _build(
        ChannelsChanged,
        after,
        fields,
        default_channel="bank-direct-debit",
        channels=(channel_offer(),),
    )


EVENT_BUILDERS: Mapping[type[Event], Callable[..., Event]] = {
    ContributionAssessed: contribution_assessed,
    PaymentRequested: payment_requested,
    PaymentOutcomeAsked: payment_outcome_asked,
    PaymentDelayed: payment_delayed,
    PaymentSettled: payment_settled,
    PaymentFailed: payment_failed,
    UnexpectedMoneyReceived: unexpected_money_received,
    MoneyAccepted: money_accepted,
    MoneyRejected: money_rejected,
    PaymentRefunded: payment_refunded,
    ChannelsChanged: channels_changed,
}


def envelope(body: Event, **fields: Any) -> Envelope:
    """The envelope of a body; without overrides its id is the one that its row would give it."""
    subject = fields.get("subject") or getattr(body, SUBJECT_FIELDS[type(body)])
    sequence = fields.get("sequence", 1)
    defaults = {
        "event_id": event_id(body.type, subject, sequence),
        "type": body.type,
        "source": f"songhe/{body.topic.partition('.')[0]}",
        "time": SOME_TIME,
        "subject": subject,
        "sequence": sequence,
        "schema_version": body.version,
        "correlation_id": new_id(),
        "causation_id": None,
        "traceparent": None,
    }
    return Envelope(**{**defaults, **fields})


def message(body: Body, **fields: Any) -> Message[Body]:
    """A body in its envelope; keywords override the envelope."""
    return Message(envelope(body, **fields), body)


def kafka_record(told: Message[Event]) -> tuple[bytes, Headers, bytes]:
    """Key, headers and value of the record that carries this message."""
    key = told.body.record_key.encode()
    return key, encode_headers(told.envelope), encode_body(told.body)


def _build(kind: type[Body], after: Event | None, fields: Mapping[str, Any], **own: Any) -> Body:
    known: dict[str, Any] = {**_common_fields(), **own, **_told_by(after)}
    unknown = set(fields) - set(kind.__struct_fields__)
    if unknown:
        raise TypeError(f"{kind.type} has no field {', '.join(sorted(unknown))}")
    ours = {name: known[name] for name in kind.__struct_fields__ if name in known}
    return kind(**{**ours, **fields})


def _told_by(after: Event | None) -> dict[str, Any]:
    if after is None:
        return {}
    told = {name: getattr(after, name) for name in after.__struct_fields__}
    # A request may leave the channel open, an outcome never does
    return {name: value for name, value in told.items() if value is not None}


def _common_fields() -> dict[str, UUID | int | str]:
    return {
        "insured_person_id": new_id(),
        "payer_id": new_id(),
        "contribution_id": new_id(),
        "payment_order_id": new_id(),
        "attempt_id": new_id(),
        "refund_id": new_id(),
        "channel_list_id": new_id(),
        "amount_fen": 150_920,
        "currency": "CNY",
        "scheme": "flexible",
        "region": "310000",
        "period": "2026-11",
        "channel": "bank-direct-debit",
    }
