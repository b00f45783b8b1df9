"""Every refusal of billing: its stable code, its HTTP status and what a person reads."""

from collections.abc import Mapping

from shared.kernel.errors import WordedRefusal
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
        Wording(zh="没有找到这张账单。", en="There is no such contribution of yours."),
    ),
    "contribution_locked": (
        409,
        Wording(
            zh="这个月已经付款或者正在付款，不能再改缴费基数。",
            en="This month is paid or being paid: its base can no longer be changed.",
        ),
    ),
    "contribution_superseded": (
        409,
        Wording(
            zh="这张账单已经换成新的，请看新的账单。",
            en="This contribution was replaced; see the new one.",
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
            en="Another payment of this contribution is still open: do not pay again yet.",
        ),
    ),
    "cursor_unknown": (
        422,
        Wording(zh="这一页已经没有了，请从头看。", en="There is no such page; start again."),
    ),
}
BUSY = Wording(
    zh="现在不能开始新的付款，请稍后再试。没有扣款。",
    en="New payments must wait a moment. Nothing was charged.",
)


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
