"""Builders for billing's tests: sensible values, keywords override."""

from datetime import UTC, datetime, timedelta
from typing import Any

from services.billing.domain.contribution import Contribution, ContributionStatus
from services.billing.domain.payment_request import (
    AskingPolicy,
    PaymentRequest,
    PaymentRequestStatus,
)
from shared.kernel.events import Share
from shared.kernel.ids import new_id
from shared.kernel.money import Money

NOW = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
ASKING = AskingPolicy(first=timedelta(seconds=30), cap=timedelta(seconds=600), asks_before_item=8)
ORDER_LIFETIME = timedelta(minutes=30)
# Shanghai, base floor of 2026-07: 7,546.00 yuan, 20 %
FLOOR = Money(754_600)
AMOUNT = Money(150_920)


def contribution(**fields: Any) -> Contribution:
    """An assessed contribution of a flexible worker in Shanghai."""
    defaults: dict[str, Any] = {
        "id": new_id(),
        "insured_person_id": new_id(),
        "scheme": "flexible",
        "region": "310000",
        "period": "2026-11",
        "base": FLOOR,
        "amount": AMOUNT,
        "currency": "CNY",
        "shares": (
            Share(account="personal_account", amount_fen=60_368),
            Share(account="pooled", amount_fen=90_552),
        ),
        "rule_id": "310000-base-2026-07+310000-flexible-rate-2024-03",
        "provisional": False,
        "supersedes": None,
        "status": ContributionStatus.ASSESSED,
        "version": 1,
        "payment_order_id": None,
        "reason": None,
        "can_retry": False,
        "paid_by_attempt_id": None,
        "paid_at": None,
        "correlation_id": new_id(),
        "created_at": NOW,
    }
    return Contribution(**defaults | fields)


def payment_request(of: Contribution, **fields: Any) -> PaymentRequest:
    """An open request for a contribution."""
    defaults: dict[str, Any] = {
        "payment_order_id": new_id(),
        "contribution_id": of.id,
        "insured_person_id": of.insured_person_id,
        "payer_id": of.insured_person_id,
        "channel": "bank-direct-debit",
        "amount": of.amount,
        "currency": of.currency,
        "scheme": of.scheme,
        "region": of.region,
        "period": of.period,
        "status": PaymentRequestStatus.OPEN,
        "version": 1,
        "ask_count": 0,
        "next_ask_at": NOW + ASKING.first,
        "outcome_sequence": 0,
        "expires_at": NOW + ORDER_LIFETIME,
        "attempt_id": None,
        "reason": None,
        "correlation_id": of.correlation_id,
        "created_at": NOW,
    }
    return PaymentRequest(**defaults | fields)
