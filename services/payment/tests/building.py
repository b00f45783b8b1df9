"""Builders of orders, attempts and answers: sensible values, keywords override."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from msgspec import structs

from services.payment.domain.channel import (
    Capabilities,
    ChannelKind,
    Method,
    OpensIn,
)
from services.payment.domain.channel_answer import Succeeded
from services.payment.domain.opening import first_attempt
from services.payment.domain.outcome import Asking
from services.payment.domain.payment_attempt import AttemptStatus, Call, PaymentAttempt
from services.payment.domain.payment_order import OrderStatus, PaymentOrder
from shared.kernel.ids import new_id
from shared.kernel.money import Money
from shared.kernel.wording import Wording
from testing.builders import SOME_TIME

AMOUNT = Money(150_920)
EXPIRES_AT = SOME_TIME + timedelta(minutes=30)
BANK = Capabilities(
    id="bank-direct-debit",
    kind=ChannelKind.DIRECT,
    name=Wording(zh="银行代扣", en="Bank direct debit"),
    idempotency_window=timedelta(hours=24),
    minimum=Money(1),
    maximum=Money(10_000_000_000),
)
CASHIER = replace(
    BANK,
    id="alipay",
    kind=ChannelKind.CASHIER,
    name=Wording(zh="支付宝", en="Alipay"),
    methods=(
        Method(id="wap", opens_in=OpensIn.PHONE_BROWSER),
        Method(id="mini", opens_in=OpensIn.CHANNEL_APP, needs_openid=True),
    ),
)
OTHER_CASHIER = replace(
    CASHIER,
    id="wechatpay",
    name=Wording(zh="微信支付", en="WeChat Pay"),
    maximum=Money(5_000_000),
)


def an_order(**fields: Any) -> PaymentOrder:
    """An open order of 1,509.20 yuan, opened at SOME_TIME, for half an hour."""
    defaults: dict[str, Any] = {
        "id": new_id(),
        "contribution_id": new_id(),
        "insured_person_id": new_id(),
        "payer_id": new_id(),
        "amount": AMOUNT,
        "currency": "CNY",
        "scheme": "flexible",
        "region": "310000",
        "period": "2026-11",
        "channel": BANK.id,
        "status": OrderStatus.REQUESTED,
        "version": 1,
        "expires_at": EXPIRES_AT,
        "opened_at": SOME_TIME,
        "correlation_id": new_id(),
        "causation_id": new_id(),
        "last_ask_sequence": 1,
    }
    return PaymentOrder(**defaults | fields)


def an_attempt(order: PaymentOrder, **fields: Any) -> PaymentAttempt:
    """The order's first attempt, sent once at SOME_TIME."""
    sent: dict[str, Any] = {
        "send_count": 1,
        "first_sent_at": SOME_TIME,
        "next_call": Call.QUERY,
    }
    return structs.replace(
        first_attempt(order, attempt_id=new_id(), now=SOME_TIME), **sent | fields
    )


def an_unknown_attempt(order: PaymentOrder, **fields: Any) -> PaymentAttempt:
    unknown: dict[str, Any] = {
        "status": AttemptStatus.UNKNOWN,
        "unknown_since": SOME_TIME,
        "promised_until": SOME_TIME + timedelta(minutes=15),
    }
    return an_attempt(order, **unknown | fields)


def asked(call: Call = Call.QUERY, *, after: timedelta = timedelta(seconds=1)) -> Asking:
    """A call answered at once, `after` SOME_TIME."""
    return Asking(call=call, channel=BANK, asked_at=SOME_TIME + after, now=SOME_TIME + after)


def paid(**fields: Any) -> Succeeded:
    defaults: dict[str, Any] = {
        "trade_no": "T1",
        "amount": AMOUNT,
        "at": SOME_TIME + timedelta(seconds=1),
    }
    return Succeeded(**defaults | fields)
