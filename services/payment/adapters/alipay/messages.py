"""Alipay's messages as they are on the wire, and what they say of the money.

Amounts are yuan in text with up to two decimals, times are those of China without a zone.
"""

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from services.payment.domain.channel_answer import (
    AwaitingPayer,
    ChannelAnswer,
    Closed,
    NotThere,
    Succeeded,
)
from services.payment.domain.channel_notification import VerifiedNotification
from shared.kernel.clock import SHANGHAI
from shared.kernel.money import CURRENCY, Money

OK = "10000"
BUSINESS_FAILED = "40004"
TRADE_NOT_EXIST = "ACQ.TRADE_NOT_EXIST"
PAID_STATUSES = frozenset({"TRADE_SUCCESS", "TRADE_FINISHED"})
TRADE_STATUS_NOTIFICATION = "trade_status_sync"

Yuan = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,2})?\Z")]
ShanghaiTime = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?\Z"
    ),
]
Identifier = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,128}\Z")]
Short = Annotated[str, msgspec.Meta(max_length=128)]


class Meaningless(ValueError):
    """The message is well-formed and signed, and still not one that we may act upon."""


class Trade(msgspec.Struct, frozen=True):
    """What create, query and close answer; most fields are there only in some of them."""

    code: Short
    sub_code: Short = ""
    out_trade_no: Short = ""
    trade_no: Identifier | None = None
    trade_status: Short = ""
    total_amount: Yuan | None = None
    send_pay_date: ShanghaiTime | None = None
    trans_currency: str = CURRENCY
    pay_currency: str = CURRENCY
    settle_currency: str = CURRENCY
    qr_code: Annotated[str, msgspec.Meta(pattern=r"^https?://[!-~]{1,1000}\Z")] | None = None


class Notification(msgspec.Struct, frozen=True):
    """A notification's parameters, the ones that matter here."""

    notify_id: Identifier
    notify_time: ShanghaiTime
    notify_type: Short
    app_id: Short
    seller_id: Short = ""
    out_trade_no: Short = ""
    trade_no: Identifier | None = None
    trade_status: Short = ""
    total_amount: Yuan | None = None
    gmt_payment: ShanghaiTime | None = None
    gmt_refund: str = ""
    out_biz_no: str = ""
    refund_fee: Yuan = "0"
    charset: str = "utf-8"
    trans_currency: str = CURRENCY
    pay_currency: str = CURRENCY
    settle_currency: str = CURRENCY

    @property
    def is_about_refund(self) -> bool:
        """A refund is told with the trade's status, which is still TRADE_SUCCESS after a part."""
        has_marks = bool(self.gmt_refund or self.out_biz_no)
        return has_marks or Money.of_yuan(self.refund_fee) > Money(0)


decode_trade = msgspec.json.Decoder(Trade).decode


def yuan(amount: Money) -> str:
    """As Alipay writes it: `1509.20`."""
    return f"{amount.fen // 100}.{amount.fen % 100:02d}"


def shanghai_time(instant: datetime) -> str:
    """Rounded down to the second: an order never lives longer there than here."""
    return instant.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def is_in_our_currency(message: Trade | Notification) -> bool:
    told = {message.trans_currency, message.pay_currency, message.settle_currency}
    return told == {CURRENCY}


def told_by_query(trade: Trade, *, asked_at: datetime) -> ChannelAnswer:
    """Raises Meaningless where this says nothing certain."""
    if trade.code == BUSINESS_FAILED and trade.sub_code == TRADE_NOT_EXIST:
        return NotThere()
    if trade.code != OK:
        raise Meaningless("neither a trade nor its absence")
    if trade.trade_status in PAID_STATUSES:
        return _succeeded(trade.trade_no, trade.total_amount, trade.send_pay_date, asked_at)
    match trade.trade_status:
        case "WAIT_BUYER_PAY":
            return AwaitingPayer()
        case "TRADE_CLOSED" if trade.send_pay_date is None:
            return Closed()
        case "TRADE_CLOSED":
            # Closed by a full refund: it was paid before.
            return _succeeded(trade.trade_no, trade.total_amount, trade.send_pay_date, asked_at)
    raise Meaningless("an unknown trade status")


def told_by_notification(told: Notification) -> VerifiedNotification:
    """Raises Meaningless. A refund and any message but a trade's status move no payment."""
    at = instant_of(told.notify_time)
    answer: ChannelAnswer | None = None
    if told.notify_type == TRADE_STATUS_NOTIFICATION and not told.is_about_refund:
        answer = _told_by_status(told, at)
    return VerifiedNotification(told.notify_id, told.out_trade_no, answer, at)


def _told_by_status(told: Notification, at: datetime) -> ChannelAnswer | None:
    if told.trade_status in PAID_STATUSES:
        return _succeeded(told.trade_no, told.total_amount, told.gmt_payment, at)
    match told.trade_status:
        case "TRADE_CLOSED" if told.gmt_payment is None:
            return Closed()
        case "TRADE_CLOSED" | "WAIT_BUYER_PAY":
            return None
    raise Meaningless("an unknown trade status")


def instant_of(shanghai: str) -> datetime:
    """Raises Meaningless where the calendar has no such time."""
    try:
        return datetime.fromisoformat(f"{shanghai}+08:00").astimezone(UTC)
    except ValueError:
        raise Meaningless("no such time") from None


def _succeeded(
    trade_no: str | None, amount: str | None, paid_at: str | None, told_at: datetime
) -> Succeeded:
    if trade_no is None or amount is None:
        raise Meaningless("paid, without trade number or amount")
    return Succeeded(trade_no, Money.of_yuan(amount), instant_of(paid_at) if paid_at else told_at)
