"""Every refusal of payment: its stable code, its HTTP status and what a person reads."""

from shared.kernel.errors import WordedRefusal
from shared.kernel.wording import Wording

REFUSALS: dict[str, tuple[int, Wording]] = {
    "order_not_yet_known": (
        404,
        Wording(
            "没有找到您的这笔订单，或者它还没有建好。",
            "You have no such order, or it is not ready yet.",
        ),
    ),
    "order_finished": (
        409,
        Wording("这笔订单已经结束，请看结果。", "This order is finished. Please see its result."),
    ),
    "order_expires_now": (
        409,
        Wording(
            "这笔订单的付款时间到了，请等一会儿再重新下单。",
            "The time to pay this order has run out. Please wait a moment and order again.",
        ),
    ),
    "channel_unknown": (
        422,
        Wording("没有这种付款方式。", "This way to pay does not exist."),
    ),
    "channel_not_notifying": (
        404,
        Wording("这里没有这个渠道的通知地址。", "No such channel sends notifications here."),
    ),
    "channel_starts_itself": (
        422,
        Wording(
            "这种方式不用自己去付，下单后自动扣款。",
            "No page is needed: the bank account is charged automatically.",
        ),
    ),
    "method_unknown": (
        422,
        Wording("{channel}不能这样打开。", "{channel} cannot be opened this way."),
    ),
    "openid_missing": (
        422,
        Wording(
            "这样付款要在{channel}里打开。", "To pay this way, open the page inside {channel}."
        ),
    ),
    "amount_not_taken": (
        409,
        Wording(
            "{channel}不能付这个金额，请换一种方式。",
            "{channel} does not take this amount. Please pay another way.",
        ),
    ),
    "region_not_taken": (
        409,
        Wording(
            "{channel}不能付这个地区的费用，请换一种方式。",
            "{channel} does not take contributions for this region. Please pay another way.",
        ),
    ),
    "outcome_unknown": (
        409,
        Wording(
            "上一次付款还没查到结果，请先不要再付。",
            "The result of the last payment is not known yet. Please do not pay again yet.",
        ),
    ),
    "attempts_open": (
        409,
        Wording(
            "前面打开的付款还没取消完，请过一会儿再换。",
            "Earlier payments are still being cancelled. Please try again in a moment.",
        ),
    ),
    "attempt_busy": (
        409,
        Wording(
            "正在处理，请等一秒再试。", "This is being processed. Please try again in a second."
        ),
    ),
    "attempt_not_found": (
        404,
        Wording("没有找到这次付款。", "This order has no such payment."),
    ),
    "attempt_succeeded": (
        409,
        Wording(
            "这次付款已经收到钱，不能取消。",
            "This payment has been received and cannot be cancelled.",
        ),
    ),
    "attempt_closed": (
        409,
        Wording(
            "这次付款已经取消，请重新开始一次。",
            "This payment was cancelled. Please start a new one.",
        ),
    ),
    "attempt_not_closable": (
        409,
        Wording(
            "这种方式不能取消，请等结果。",
            "This payment cannot be cancelled. Please wait for its result.",
        ),
    ),
    "attempt_declined": (
        409,
        Wording(
            "{channel}没有接受这次付款，没有扣款。可以再付一次，或者换一种方式。",
            "{channel} did not accept this payment and took no money. "
            "Try again or pay another way.",
        ),
    ),
    "return_not_known": (
        404,
        Wording(
            "这个链接已经过期。登录后可以看到付款结果。",
            "This link has expired. Log in to see the result.",
        ),
    ),
}
CHANNEL_STOPPED = Wording(
    "现在不能用{channel}付款，没有扣款。请换一种方式。",
    "{channel} takes no new payments at the moment. Nothing was charged. Please pay another way.",
)
CHANNEL_SILENT = Wording(
    "{channel}现在没有回答，没有扣款。请再试一次，或者换一种方式。",
    "{channel} is not answering now. Nothing was charged. Try again or pay another way.",
)


def refused(code: str, *, channel: Wording | None = None, **extra: object) -> WordedRefusal:
    """The refusal of that code; `channel` is its name, `extra` goes into the problem document."""
    status, wording = REFUSALS[code]
    return WordedRefusal(code, named(wording, channel), status=status, extra=extra)


def named(wording: Wording, channel: Wording | None) -> Wording:
    return wording.filled(channel=channel or Wording("", ""))
