"""Every refusal of billing: its stable code, its HTTP status and what a person reads."""

from collections.abc import Mapping

from shared.kernel.errors import WordedOutage, WordedRefusal
from shared.kernel.wording import Wording

REFUSALS: dict[str, tuple[int, Wording]] = {
    "region_not_covered": (422, Wording(zh="{message}", en="{message}")),
    "period_not_allowed": (
        422,
        Wording(
            zh="现在只能缴这些月份：{months}。", en="Only these months may be paid now: {months}."
        ),
    ),
    "base_out_of_range": (
        422,
        Wording(
            zh="缴费基数要在 {floor} 元到 {ceiling} 元之间。",
            en="The base must be from {floor} to {ceiling} yuan.",
        ),
    ),
    "base_not_a_tier": (
        422,
        Wording(
            zh="缴费基数要从公布的档次里选。",
            en="The base must be one of the published tiers.",
        ),
    ),
    "contribution_not_found": (
        404,
        Wording(zh="没有找到这张账单。", en="You have no such contribution."),
    ),
    "contribution_locked": (
        409,
        Wording(
            zh="这个月已经付款或者正在付款，不能再改缴费基数。",
            en="This month is paid or being paid, so its base can no longer change.",
        ),
    ),
    "contribution_superseded": (
        409,
        Wording(
            zh="这张账单已经换成新的，请看新的账单。",
            en="This contribution was replaced. Please see the new one.",
        ),
    ),
    "already_paid": (
        409,
        Wording(
            zh="这个月已经缴过了，没有再扣您的钱。",
            en="This month is already paid; nothing more was charged.",
        ),
    ),
    "order_open": (
        409,
        Wording(
            zh="有一笔付款还没结束，请先不要再付。",
            en="Another payment for this contribution is still open. Please do not pay again yet.",
        ),
    ),
    "channel_unknown": (
        422,
        Wording(zh="没有这种付款方式。", en="This way to pay does not exist."),
    ),
    "channel_not_configured": (
        409,
        Wording(
            zh="这里不能用{channel}付款，没有扣款。请换一种方式。",
            en="{channel} is not offered here. Nothing was charged. Please pay another way.",
        ),
    ),
    "amount_not_taken": (
        409,
        Wording(
            zh="{channel}不能付这个金额，没有扣款。请换一种方式。",
            en="{channel} does not take this amount. Nothing was charged. Please pay another way.",
        ),
    ),
    "region_not_taken": (
        409,
        Wording(
            zh="{channel}不能付这个地区的费用，没有扣款。请换一种方式。",
            en="{channel} does not take contributions for this region. Nothing was charged. "
            "Please pay another way.",
        ),
    ),
    "mandate_missing": (
        409,
        Wording(
            zh="用{channel}付款要先签代扣协议，现在还没有。没有扣款。请换一种方式。",
            en="{channel} needs a direct debit agreement, and there is none yet. "
            "Nothing was charged. Please pay another way.",
        ),
    ),
    "charged_too_late": (
        409,
        Wording(
            zh="{channel}现在不能马上扣款，来不及付这一笔。没有扣款。请换一种方式。",
            en="{channel} can no longer charge in time for this payment. Nothing was charged. "
            "Please pay another way.",
        ),
    ),
    "cursor_unknown": (
        422,
        Wording(
            zh="这一页已经没有了，请从头看。",
            en="This page no longer exists. Please start from the first one.",
        ),
    ),
}
BUSY = Wording(
    zh="现在不能开始新的付款，请稍后再试。没有扣款。",
    en="No new payment can start right now. Nothing was charged. Please try again soon.",
)

OUTAGES: dict[str, Wording] = {
    "channel_stopped": Wording(
        zh="现在不能用{channel}付款，没有扣款。请换一种方式。",
        en="{channel} takes no new payments at the moment. Nothing was charged. "
        "Please pay another way.",
    ),
    "no_channel": Wording(
        zh="现在没有能用的付款方式，没有扣款。请过一会儿再试。",
        en="No way to pay is available now. Nothing was charged. Please try again later.",
    ),
}


class BillingRefused(WordedRefusal):
    """A refusal of billing, by its code."""

    def __init__(
        self,
        code: str,
        *,
        fill: Mapping[str, str | Wording] | None = None,
        extra: dict[str, object],
    ) -> None:
        status, wording = REFUSALS[code]
        super().__init__(code, wording.filled(**fill or {}), status=status, extra=extra)


def refused(
    code: str, *, fill: Mapping[str, str | Wording] | None = None, **extra: object
) -> BillingRefused:
    """The refusal of that code; `extra` are further members of the problem document."""
    return BillingRefused(code, fill=fill, extra=extra)


def unavailable(
    code: str, *, retry_after_seconds: int, fill: Mapping[str, str | Wording] | None = None
) -> WordedOutage:
    """The outage of that code."""
    wording = OUTAGES[code].filled(**fill or {})
    return WordedOutage(code, wording, retry_after_seconds=retry_after_seconds)
