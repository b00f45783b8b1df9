"""What a person reads about a contribution: one table, state × reason → text in two languages.

A headline is a fact about the money. "Nothing was charged" appears only where the channel said
so finally; PAID never says "credited" before the authority did.
"""

from dataclasses import dataclass
from enum import StrEnum

from services.billing.domain.contribution import (
    LATE_MONEY,
    REFUNDED,
    Contribution,
    ContributionStatus,
)
from shared.kernel.wording import Wording


class Circumstance(StrEnum):
    """What makes two people in the same state read different things."""

    NONE = "none"
    # assessed: why it was not paid by the last order
    EXPIRED = "expired"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_EXCEEDED = "limit_exceeded"
    ACCOUNT_RESTRICTED = "account_restricted"
    REJECTED = "rejected"
    CHANNEL_UNAVAILABLE = "channel_unavailable"
    WRONG_AMOUNT = "wrong_amount"
    OTHER_FAILURE = "other_failure"
    REFUNDED = REFUNDED
    PERIOD_CLOSED = "period_closed"
    # payment pending: the promised time has passed
    OVERDUE = "overdue"
    # paid
    LATE_MONEY = LATE_MONEY


@dataclass(frozen=True, slots=True)
class StatusText:
    """Headline, explanation and next step; `{amount}`, `{month}`, `{by}`, `{paid}` are filled."""

    headline: Wording
    explanation: Wording
    next_step: Wording


def _text(*lines: tuple[str, str]) -> StatusText:
    headline, explanation, next_step = (Wording(zh=zh, en=en) for zh, en in lines)
    return StatusText(headline, explanation, next_step)


def _not_paid(why: tuple[str, str], next_step: tuple[str, str]) -> StatusText:
    return _text(
        ("这次没付成，没有扣款", "The payment did not go through"),
        (f"{why[0]}您的账单没有变。", f"No money was taken. {why[1]} Your bill is unchanged."),
        next_step,
    )


_S, _C = ContributionStatus, Circumstance
_PAY_ANOTHER_WAY = ("可以换一种方式再付。", "You can pay again another way.")

STATUS_TEXTS: dict[tuple[ContributionStatus, Circumstance], StatusText] = {
    (_S.ASSESSED, _C.NONE): _text(
        ("还没有缴费", "Not paid yet"),
        ("{month}应缴 {amount} 元。", "{amount} yuan is due for {month}."),
        ("核对金额后就可以付款。", "Check the amount, then pay."),
    ),
    (_S.ASSESSED, _C.EXPIRED): _text(
        ("订单过时了，没有扣款", "The order ran out of time"),
        ("不影响您的账单。", "Nothing was charged and your bill is unchanged."),
        ("可以重新付款。", "You can pay again."),
    ),
    (_S.ASSESSED, _C.INSUFFICIENT_FUNDS): _not_paid(
        ("付款渠道说：余额不足。", "The payment channel says the balance is too low."),
        _PAY_ANOTHER_WAY,
    ),
    (_S.ASSESSED, _C.LIMIT_EXCEEDED): _not_paid(
        ("付款渠道说：超过了付款限额。", "The payment channel says your limit was exceeded."),
        _PAY_ANOTHER_WAY,
    ),
    (_S.ASSESSED, _C.ACCOUNT_RESTRICTED): _not_paid(
        ("付款渠道说：账户现在不能付款。", "The payment channel says your account cannot pay now."),
        (
            "可以换一种方式再付，或者先问付款渠道。",
            "Pay another way, or ask the payment channel first.",
        ),
    ),
    (_S.ASSESSED, _C.REJECTED): _not_paid(
        ("付款渠道没有接受这笔付款。", "The payment channel did not accept the payment."),
        _PAY_ANOTHER_WAY,
    ),
    (_S.ASSESSED, _C.CHANNEL_UNAVAILABLE): _not_paid(
        ("付款渠道现在不能用。", "The payment channel cannot be used now."),
        ("可以换一种方式，或者过一会儿再付。", "Pay another way, or try again later."),
    ),
    (_S.ASSESSED, _C.WRONG_AMOUNT): _text(
        ("收到的金额不对，不算缴费", "The amount received was wrong and does not count"),
        (
            "这笔钱会全部原路退回，退回后告诉您。您的账单没有变。",
            "All of it goes back the way it came; we will tell you when it has. Your bill is "
            "unchanged.",
        ),
        ("可以按 {amount} 元重新付款。", "You can pay again: {amount} yuan."),
    ),
    (_S.ASSESSED, _C.OTHER_FAILURE): _text(
        ("这次没付成", "The payment did not go through"),
        ("这笔订单已经结束。您的账单没有变。", "The order has ended. Your bill is unchanged."),
        _PAY_ANOTHER_WAY,
    ),
    (_S.ASSESSED, _C.REFUNDED): _text(
        ("钱已退回，还没有缴费", "Money refunded; not paid yet"),
        (
            "您付的钱已经原路退回，{month}还没有缴。",
            "Your money went back the way it came. {month} is not paid yet.",
        ),
        ("可以重新付款。", "You can pay again."),
    ),
    (_S.ASSESSED, _C.PERIOD_CLOSED): _text(
        ("这个月现在不能缴了", "This month can no longer be paid"),
        (
            "{month}的缴费时间已过，这个月没有缴。",
            "The time to pay for {month} has passed, and it was not paid.",
        ),
        ("可以打电话问能不能补缴。", "Call to ask whether it can still be paid."),
    ),
    (_S.PAYMENT_PENDING, _C.NONE): _text(
        ("有一笔付款还没结束", "A payment is still open"),
        (
            "最晚 {by} 有结果，有结果就告诉您。没付成的话，之后可以再付。",
            "Its result is due by {by}, and we will tell you. If it fails, you can pay again.",
        ),
        ("请先不要再付，可以看那一笔。", "Please do not pay again yet; look at that payment."),
    ),
    (_S.PAYMENT_PENDING, _C.OVERDUE): _text(
        ("还没查到结果，请不要再付", "No result yet; please do not pay again"),
        (
            "我们会一直查询，下次 {by} 有消息。钱不会丢：要么算作您的缴费，要么原路退回。",
            "We keep checking; next update by {by}. Your money is safe: it either counts as your "
            "contribution or goes back the way it came.",
        ),
        ("不用做什么，这个页面可以关掉。", "Nothing to do; you can close this page."),
    ),
    (_S.PAID, _C.NONE): _text(
        ("已缴费，等待入账", "Paid, waiting to be recorded"),
        (
            "{paid} 收到 {amount} 元，等税务入账，一般需要几个工作日，节假日会晚一些。",
            "{amount} yuan was received at {paid}. The tax office usually records it within a few "
            "working days, or longer over holidays.",
        ),
        ("不用做什么，也不用再付。", "Nothing to do and nothing more to pay."),
    ),
    (_S.PAID, _C.LATE_MONEY): _text(
        ("已缴费，等待入账", "Paid, waiting to be recorded"),
        (
            "这笔钱 {paid} 才到，比平时晚，算作{month}的缴费。现在等税务入账。",
            "Your money arrived late, at {paid}, and pays for {month}. Next, the tax "
            "office records it.",
        ),
        ("不用再付。", "Nothing more to pay."),
    ),
    (_S.CREDITED, _C.NONE): _text(
        ("已入账", "Recorded by the tax office"),
        (
            "{month}的缴费已由税务入账。",
            "The tax office has recorded your contribution for {month}.",
        ),
        ("不用做什么。", "Nothing to do."),
    ),
    (_S.CREDIT_REFUSED, _C.NONE): _text(
        ("钱已收到，税务没有入账", "Paid, but not recorded by the tax office"),
        (
            "税务没有接受{month}的缴费。我们正在处理，钱不会丢。",
            "The tax office did not record {month}. We are working on it; your money is safe.",
        ),
        ("请不要再付，可以打电话问。", "Please do not pay again; you can call us."),
    ),
    (_S.SUPERSEDED, _C.NONE): _text(
        ("这张账单已经换成新的", "Replaced by a new bill"),
        (
            "您改了缴费基数，这张账单不用付了。",
            "You changed the base, so this bill need not be paid.",
        ),
        ("请看新的账单。", "See the new bill."),
    ),
}


def circumstance_of(
    contribution: Contribution, *, is_period_open: bool, is_overdue: bool
) -> Circumstance:
    """Which of the texts of its state applies to a contribution."""
    match contribution.status:
        case ContributionStatus.ASSESSED if not is_period_open:
            return Circumstance.PERIOD_CLOSED
        case ContributionStatus.ASSESSED if contribution.reason is not None:
            named = (_S.ASSESSED, contribution.reason)
            return Circumstance(named[1]) if named in _KNOWN else Circumstance.OTHER_FAILURE
        case ContributionStatus.PAYMENT_PENDING if is_overdue:
            return Circumstance.OVERDUE
        case ContributionStatus.PAID if contribution.reason == LATE_MONEY:
            return Circumstance.LATE_MONEY
    return Circumstance.NONE


_KNOWN: set[tuple[ContributionStatus, str]] = {
    (status, str(circumstance)) for status, circumstance in STATUS_TEXTS
}
