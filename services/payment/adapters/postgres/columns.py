"""Rows of payment's tables and the domain objects they hold: one list of columns per table."""

from typing import Any

from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.payment_attempt import (
    AttemptStatus,
    Call,
    MoneyDecision,
    PaymentAttempt,
)
from services.payment.domain.payment_order import OrderStatus, PaymentOrder, Settlement
from services.payment.domain.refund import Refund
from shared.kernel.money import Money
from shared.runtime.database.set_statements import Columns, Row

ORDER_FACTS: Columns = {
    "id": "uuid",
    "contribution_id": "uuid",
    "insured_person_id": "uuid",
    "payer_id": "uuid",
    "amount_fen": "bigint",
    "currency": "text",
    "scheme": "text",
    "region": "text",
    "period": "text",
    "channel": "text",
    "expires_at": "timestamptz",
    "opened_at": "timestamptz",
    "correlation_id": "uuid",
    "causation_id": "uuid",
}
# What changes during an order's life.
ORDER_STATE: Columns = {
    "status": "text",
    "version": "integer",
    "last_ask_sequence": "bigint",
    "reason": "text",
    "failed_version": "integer",
    "settled_version": "integer",
    "attempt_id": "uuid",
    "settled_channel": "text",
    "channel_trade_no": "text",
    "settled_at": "timestamptz",
    "channel_asked_at": "timestamptz",
    "channel_confirmed_at": "timestamptz",
    "accepted_event_id": "uuid",
}
ORDER: Columns = {**ORDER_FACTS, **ORDER_STATE}
# An order begins open, or failed before anything was tried; the rest is empty then.
NEW_ORDER: Columns = {
    **ORDER_FACTS,
    "status": "text",
    "version": "integer",
    "last_ask_sequence": "bigint",
    "reason": "text",
    "failed_version": "integer",
}

ATTEMPT_FACTS: Columns = {
    "id": "uuid",
    "order_id": "uuid",
    "channel": "text",
    "amount_fen": "bigint",
    "expires_at": "timestamptz",
    "created_at": "timestamptz",
    "send_count": "integer",
    "first_sent_at": "timestamptz",
    "query_count": "integer",
    "method": "text",
}
# Sends and queries are counted by the claim alone; leases end with every save.
ATTEMPT_STATE: Columns = {
    "status": "text",
    "version": "integer",
    "next_call": "text",
    "due_at": "timestamptz",
    "unknown_since": "timestamptz",
    "promised_until": "timestamptz",
    "not_there_count": "integer",
    "last_not_there_at": "timestamptz",
    "trade_no": "text",
    "received_fen": "bigint",
    "succeeded_at": "timestamptz",
    "reason": "text",
    "unexpected_sequence": "integer",
    "decision": "text",
    "close_wanted_at": "timestamptz",
    "asked_at": "timestamptz",
    "ended_at": "timestamptz",
}
ATTEMPT: Columns = {**ATTEMPT_FACTS, **ATTEMPT_STATE}
# What our own server starts by itself: nobody has been asked, and a send is counted only with a
# lease for it.
NEW_DIRECT_ATTEMPT: Columns = {
    "id": "uuid",
    "order_id": "uuid",
    "channel": "text",
    "amount_fen": "bigint",
    "expires_at": "timestamptz",
    "created_at": "timestamptz",
    "status": "text",
    "version": "integer",
    "next_call": "text",
    "due_at": "timestamptz",
    "send_count": "integer",
    "first_sent_at": "timestamptz",
    "lease_owner": "uuid",
}

REFUND: Columns = {
    "id": "uuid",
    "attempt_id": "uuid",
    "order_id": "uuid",
    "amount_fen": "bigint",
    "reason": "text",
    "status": "text",
    "requested_at": "timestamptz",
}


def order_row(order: PaymentOrder) -> dict[str, Any]:
    settlement = order.settlement
    return {
        "id": order.id,
        "contribution_id": order.contribution_id,
        "insured_person_id": order.insured_person_id,
        "payer_id": order.payer_id,
        "amount_fen": order.amount.fen,
        "currency": order.currency,
        "scheme": order.scheme,
        "region": order.region,
        "period": order.period,
        "channel": order.channel,
        "expires_at": order.expires_at,
        "opened_at": order.opened_at,
        "correlation_id": order.correlation_id,
        "causation_id": order.causation_id,
        "status": order.status.value,
        "version": order.version,
        "last_ask_sequence": order.last_ask_sequence,
        "reason": order.reason.value if order.reason else None,
        "failed_version": order.failed_version,
        "settled_version": order.settled_version,
        "attempt_id": settlement.attempt_id if settlement else None,
        "settled_channel": settlement.channel if settlement else None,
        "channel_trade_no": settlement.channel_trade_no if settlement else None,
        "settled_at": settlement.settled_at if settlement else None,
        "channel_asked_at": settlement.asked_at if settlement else None,
        "channel_confirmed_at": settlement.confirmed_at if settlement else None,
        "accepted_event_id": order.accepted_event_id,
    }


def to_order(row: Row) -> PaymentOrder:
    settlement = None
    if row["attempt_id"] is not None:
        settlement = Settlement(
            attempt_id=row["attempt_id"],
            channel=row["settled_channel"],
            channel_trade_no=row["channel_trade_no"],
            settled_at=row["settled_at"],
            asked_at=row["channel_asked_at"],
            confirmed_at=row["channel_confirmed_at"],
        )
    return PaymentOrder(
        id=row["id"],
        contribution_id=row["contribution_id"],
        insured_person_id=row["insured_person_id"],
        payer_id=row["payer_id"],
        amount=Money(row["amount_fen"]),
        currency=row["currency"],
        scheme=row["scheme"],
        region=row["region"],
        period=row["period"],
        channel=row["channel"],
        expires_at=row["expires_at"],
        opened_at=row["opened_at"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        status=OrderStatus(row["status"]),
        version=row["version"],
        last_ask_sequence=row["last_ask_sequence"],
        reason=FailureReason(row["reason"]) if row["reason"] else None,
        failed_version=row["failed_version"],
        settled_version=row["settled_version"],
        settlement=settlement,
        accepted_event_id=row["accepted_event_id"],
    )


def attempt_row(attempt: PaymentAttempt) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "order_id": attempt.order_id,
        "channel": attempt.channel,
        "amount_fen": attempt.amount.fen,
        "expires_at": attempt.expires_at,
        "created_at": attempt.created_at,
        "send_count": attempt.send_count,
        "first_sent_at": attempt.first_sent_at,
        "query_count": attempt.query_count,
        "lease_owner": attempt.lease_owner,
        "status": attempt.status.value,
        "version": attempt.version,
        "next_call": attempt.next_call.value,
        "due_at": attempt.due_at,
        "unknown_since": attempt.unknown_since,
        "promised_until": attempt.promised_until,
        "not_there_count": attempt.not_there_count,
        "last_not_there_at": attempt.last_not_there_at,
        "trade_no": attempt.trade_no,
        "received_fen": attempt.received.fen if attempt.received else None,
        "succeeded_at": attempt.succeeded_at,
        "reason": attempt.reason.value if attempt.reason else None,
        "unexpected_sequence": attempt.unexpected_sequence,
        "decision": attempt.decision.value if attempt.decision else None,
        "method": attempt.method,
        "close_wanted_at": attempt.close_wanted_at,
        "asked_at": attempt.asked_at,
        "ended_at": attempt.ended_at,
    }


def to_attempt(row: Row) -> PaymentAttempt:
    return PaymentAttempt(
        id=row["id"],
        order_id=row["order_id"],
        channel=row["channel"],
        amount=Money(row["amount_fen"]),
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        lease_owner=row["lease_owner"],
        send_count=row["send_count"],
        first_sent_at=row["first_sent_at"],
        query_count=row["query_count"],
        status=AttemptStatus(row["status"]),
        version=row["version"],
        next_call=Call(row["next_call"]),
        due_at=row["due_at"],
        unknown_since=row["unknown_since"],
        promised_until=row["promised_until"],
        not_there_count=row["not_there_count"],
        last_not_there_at=row["last_not_there_at"],
        trade_no=row["trade_no"],
        received=None if row["received_fen"] is None else Money(row["received_fen"]),
        succeeded_at=row["succeeded_at"],
        reason=FailureReason(row["reason"]) if row["reason"] else None,
        unexpected_sequence=row["unexpected_sequence"],
        decision=MoneyDecision(row["decision"]) if row["decision"] else None,
        method=row["method"],
        close_wanted_at=row["close_wanted_at"],
        asked_at=row["asked_at"],
        ended_at=row["ended_at"],
    )


def refund_row(refund: Refund) -> dict[str, Any]:
    return {
        "id": refund.id,
        "attempt_id": refund.attempt_id,
        "order_id": refund.order_id,
        "amount_fen": refund.amount.fen,
        "reason": refund.reason.value,
        "status": refund.status.value,
        "requested_at": refund.requested_at,
    }
