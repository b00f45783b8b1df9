"""What a person reads about an order: one text per situation, in Chinese and English.

Headings are facts about the money. "没有扣款" stands only where the channel said so, or where
nothing was ever sent. No codes, and never "credited" before the authority says so.
"""

from dataclasses import dataclass
from datetime import datetime

from services.payment.domain.payment_order import PaymentOrder
from services.payment.domain.situation import Situation, Standing
from shared.kernel.wording import Language, Wording, clock_words, order_number


@dataclass(frozen=True, slots=True)
class Words:
    """`{channel} {amount} {received} {expires} {promise} {settled} {arrived} {case}` are filled."""

    headline: str
    explanation: str
    next_step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """`can_pay`: this order can be paid now. `can_retry`: the bill can be paid by a new order."""

    zh: Words
    en: Words
    can_pay: bool = False
    can_retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusForPerson:
    headline: str
    explanation: str
    next_step: str
    next_update_by: datetime | None
    can_pay: bool
    can_retry: bool


SAFE_ZH = "钱不会丢：要么算作您的缴费，要么原路退回。"
SAFE_EN = "Your money is safe: it either counts as your contribution or goes back the way it came."
NOTHING_TO_DO = ("不用做什么，这个页面可以关掉。", "Nothing to do. You can close this page.")
OTHER_WAY = ("换方式付款", "Pay another way")


def _not_paid(zh: str, en: str) -> Text:
    return Text(
        zh=Words("这次没付成，没有扣款", f"{zh}账单还在，可以换一种方式。", OTHER_WAY[0]),
        en=Words(
            "The payment did not go through. No money was taken",
            f"{en} Your bill is unchanged.",
            OTHER_WAY[1],
        ),
        can_retry=True,
    )


TEXTS: dict[Situation, Text] = {
    Situation.WAITING_FOR_CHOICE: Text(
        zh=Words(
            "等您选付款方式",
            "还没有付款。请在 {expires} 前付，过了时间不扣钱，可以重新下单。",
            "选一种方式付款",
        ),
        en=Words(
            "Waiting for you to choose how to pay",
            "Nothing is paid yet. Please pay before {expires}. If time runs out nothing is charged"
            " and you can order again.",
            "Choose a way to pay",
        ),
        can_pay=True,
    ),
    Situation.WAITING_IN_CASHIER: Text(
        zh=Words(
            "等您在{channel}付款",
            "还没有收到钱。请在 {expires} 前付，过了时间不扣钱，可以重新下单。"
            "已经付了的，请先不要再付，点“我已付款”看结果。",
            "继续去{channel}付款；也可以换一种方式。",
        ),
        en=Words(
            "Waiting for you to pay at {channel}",
            "No money has arrived yet. Please pay before {expires}. If time runs out nothing is"
            " charged and you can order again. If you have paid, do not pay again:"
            ' press "I have paid" to see the result.',
            "Continue paying with {channel}, or pay another way.",
        ),
        can_pay=True,
    ),
    Situation.WAITING_CHANNEL_STOPPED: Text(
        zh=Words(
            "{channel}暂停付款",
            "现在不能用{channel}付新的款。已付的不受影响，结果照样告诉您。"
            "请在 {expires} 前付，过了时间不扣钱。",
            "换一种方式付款",
        ),
        en=Words(
            "{channel} takes no new payments now",
            "What you have paid is not affected, and we will tell you its result."
            " Please pay before {expires}; if time runs out nothing is charged.",
            "Pay another way",
        ),
        can_pay=True,
    ),
    Situation.WAITING_AFTER_DECLINE: Text(
        zh=Words(
            "这次没付成，没有扣款",
            "{channel}没有接受这次付款。账单还在，请在 {expires} 前再付一次，或者换一种方式。",
            "再付一次，或换方式付款",
        ),
        en=Words(
            "The payment did not go through. No money was taken",
            "{channel} did not accept this payment. Your bill is unchanged: try again before"
            " {expires}, or pay another way.",
            "Try again, or pay another way",
        ),
        can_pay=True,
    ),
    Situation.WAITING_FOR_THE_END: Text(
        zh=Words(
            "付款时间马上就到",
            "来不及开始新的付款了。付款页面开着的，请在 {expires} 前付完。过了时间不扣钱。",
            "{expires} 以后在这里看结果；没有付的可以重新下单。",
        ),
        en=Words(
            "The time to pay is almost over",
            "It is too late to start a new payment. If a payment page is open, finish"
            " before {expires}."
            " If time runs out nothing is charged.",
            "See the result here after {expires}. If you did not pay, you can order again.",
        ),
    ),
    Situation.CLOSING_ATTEMPT: Text(
        zh=Words(
            "正在取消{channel}的付款",
            "一般几秒钟。请不要再在{channel}的页面上付款；万一付了，钱会算作您的缴费或原路退回。",
            "可以换一种方式付款。",
        ),
        en=Words(
            "Cancelling the payment at {channel}",
            "This usually takes a few seconds. Please do not pay on the {channel} page any more;"
            " if you do, the money counts as your contribution or goes back.",
            "You can pay another way.",
        ),
        can_pay=True,
    ),
    Situation.CLOSING_ORDER: Text(
        zh=Words(
            "付款时间已过，正在核对",
            "我们在向{channel}确认有没有收到钱，请不要再付，最晚 {promise} 在这里更新。" + SAFE_ZH,
            NOTHING_TO_DO[0],
        ),
        en=Words(
            "The time to pay has run out; we are checking",
            "We are asking {channel} whether it received any money. Please do not pay now;"
            " this page is updated by {promise}. " + SAFE_EN,
            NOTHING_TO_DO[1],
        ),
    ),
    Situation.WAITING_FOR_PAYER: Text(
        zh=Words(
            "等您付款",
            "还没有付款。请在 {expires} 前付，过了时间不扣钱，可以重新下单。",
            "去{channel}付款",
        ),
        en=Words(
            "Waiting for your payment",
            "Please pay before {expires}. If time runs out nothing is charged"
            " and you can order again.",
            "Pay with {channel}",
        ),
        can_pay=True,
    ),
    Situation.DEBIT_ANNOUNCED: Text(
        zh=Words(
            "{promise} 从银行扣款",
            "现在还没有扣钱。到时从您签约的银行账户扣 {amount} 元，请保证余额够。",
            "到时自动扣款，这个页面可以关掉。",
        ),
        en=Words(
            "Your bank account will be debited at {promise}",
            "Nothing has been charged yet. {amount} yuan will be taken from the account"
            " you agreed on; please make sure it holds enough.",
            "The charge is automatic. You can close this page.",
        ),
    ),
    Situation.ASKING_CHANNEL: Text(
        zh=Words(
            "正在向{channel}查结果",
            "一般几秒钟，请先不要再付。",
            "请稍等，结果会自己出现。",
        ),
        en=Words(
            "Checking with {channel}",
            "This usually takes a few seconds. Please do not pay again yet.",
            "Please wait; the result will appear here.",
        ),
    ),
    Situation.UNKNOWN: Text(
        zh=Words(
            "还没查到结果，请不要再付",
            "我们会一直向{channel}查询，最晚 {promise} 发短信告诉您。" + SAFE_ZH,
            NOTHING_TO_DO[0],
        ),
        en=Words(
            "No result yet. Please do not pay again",
            "We keep asking {channel} and will text you by {promise}. " + SAFE_EN,
            NOTHING_TO_DO[1],
        ),
    ),
    Situation.UNKNOWN_STILL: Text(
        zh=Words(
            "仍在查询，下次 {promise} 告诉您",
            "{channel}还没有给出结果，请不要再付。" + SAFE_ZH,
            NOTHING_TO_DO[0],
        ),
        en=Words(
            "Still checking; next update by {promise}",
            "{channel} has not reported the result yet. Please do not pay again. " + SAFE_EN,
            NOTHING_TO_DO[1],
        ),
    ),
    Situation.UNKNOWN_CASE: Text(
        zh=Words(
            "仍在查询，下次 {promise} 告诉您",
            "已为您登记，编号 {case}，由客服跟进，请不要再付。" + SAFE_ZH,
            "不用再付。想问进度，请把编号告诉客服。",
        ),
        en=Words(
            "Still checking; next update by {promise}",
            "We opened case {case} for you, and support is following it. Please do not pay again. "
            + SAFE_EN,
            "Please do not pay again. To ask about it, give support the case number.",
        ),
    ),
    Situation.EXPIRED: Text(
        zh=Words("订单过时了，没有扣款", "不影响您的账单。", "重新付款"),
        en=Words(
            "The order ran out of time. Nothing was charged",
            "Your bill is unchanged.",
            "Pay again",
        ),
        can_retry=True,
    ),
    Situation.WRONG_AMOUNT: Text(
        zh=Words(
            "金额不对，收到的钱会退回",
            "{channel}收到 {received} 元，应缴 {amount} 元。收到的钱不算缴费，会全部原路退回。"
            "账单没有变。",
            "退款不用做什么；可以重新付款。",
        ),
        en=Words(
            "Wrong amount; the money goes back to you",
            "{channel} received {received} yuan instead of {amount} yuan. It does not count as"
            " your contribution and goes back in full. Your bill is unchanged.",
            "Nothing to do for the refund. You can pay again.",
        ),
        can_retry=True,
    ),
    Situation.CHANNEL_UNAVAILABLE: _not_paid(
        "现在不能用{channel}付这笔钱。", "This cannot be paid with {channel} now."
    ),
    Situation.INSUFFICIENT_FUNDS: _not_paid(
        "{channel}说：余额不足。", "{channel} says the balance is too low."
    ),
    Situation.LIMIT_EXCEEDED: _not_paid(
        "{channel}说：超过了付款限额。", "{channel} says the payment limit was exceeded."
    ),
    Situation.ACCOUNT_RESTRICTED: _not_paid(
        "{channel}说：这个账户现在不能付款。",
        "{channel} says this account cannot pay at the moment.",
    ),
    Situation.REJECTED: _not_paid(
        "{channel}没有接受这笔付款，也没有说明原因。",
        "{channel} did not accept the payment and gave no reason.",
    ),
    Situation.LATE_MONEY: Text(
        zh=Words(
            "钱已收到，正在核对",
            "这笔钱 {arrived} 才到，比平时晚。" + SAFE_ZH,
            "请先不要再付，核对好会告诉您。",
        ),
        en=Words(
            "Your money arrived and is being checked",
            "It arrived late, at {arrived}. " + SAFE_EN,
            "Please do not pay again yet. We will tell you the result.",
        ),
    ),
    Situation.LATE_MONEY_GOES_BACK: Text(
        zh=Words(
            "多收的钱会原路退回",
            "{arrived} 收到的 {received} 元不用缴，会退回{channel}。"
            "什么时候到账以{channel}通知为准。",
            NOTHING_TO_DO[0],
        ),
        en=Words(
            "The extra payment goes back to you",
            "{received} yuan, received at {arrived}, was not owed and goes back to {channel},"
            " whose own notice says when it arrives.",
            NOTHING_TO_DO[1],
        ),
    ),
    Situation.SETTLED: Text(
        zh=Words(
            "钱已收到，等税务入账",
            "{settled} 收到 {amount} 元，不用再付。入账一般需要几个工作日，节假日会晚一些。",
            NOTHING_TO_DO[0],
        ),
        en=Words(
            "Money received, waiting for the tax office to record it",
            "{amount} yuan received at {settled}; nothing more to pay."
            " Recording it usually takes a few working days, or longer over holidays.",
            NOTHING_TO_DO[1],
        ),
    ),
    Situation.SETTLED_LATE: Text(
        zh=Words(
            "钱已收到，等税务入账",
            "这笔钱 {settled} 才到，比平时晚，已算作您的缴费，不用再付。",
            NOTHING_TO_DO[0],
        ),
        en=Words(
            "Money received, waiting for the tax office to record it",
            "Your money arrived late, at {settled}, and counts as your contribution."
            " Nothing more to pay.",
            NOTHING_TO_DO[1],
        ),
    ),
    Situation.PAID_TWICE: Text(
        zh=Words(
            "您付了两次，多付的会退",
            "缴费已收到。另一笔 {received} 元会退回{channel}，什么时候到账以{channel}通知为准。",
            NOTHING_TO_DO[0],
        ),
        en=Words(
            "You paid twice; the extra payment goes back",
            "Your contribution was received. The other {received} yuan goes back to {channel},"
            " whose own notice says when it arrives.",
            NOTHING_TO_DO[1],
        ),
    ),
    Situation.REFUNDED: Text(
        zh=Words(
            "钱已全部退回",
            "{amount} 元已退回{channel}。什么时候到账以{channel}通知为准。",
            "还要缴费的，可以重新付款。",
        ),
        en=Words(
            "All money was refunded",
            "{amount} yuan went back to {channel}, whose own notice says when it arrives.",
            "You can pay again if the contribution is still owed.",
        ),
        can_retry=True,
    ),
}


def describe(
    order: PaymentOrder,
    standing: Standing,
    *,
    channel: Wording,
    language: Language,
    now: datetime,
) -> StatusForPerson:
    """The text of the standing, filled in; clock times are those of Asia/Shanghai."""
    text = TEXTS[standing.situation]
    words = text.zh if language is Language.ZH else text.en
    facts = _facts(order, standing, channel=channel, language=language, now=now)
    return StatusForPerson(
        headline=words.headline.format_map(facts),
        explanation=words.explanation.format_map(facts),
        next_step=words.next_step.format_map(facts),
        next_update_by=standing.next_update_by,
        can_pay=text.can_pay,
        can_retry=text.can_retry,
    )


def _facts(
    order: PaymentOrder,
    standing: Standing,
    *,
    channel: Wording,
    language: Language,
    now: datetime,
) -> dict[str, str]:
    attempt = standing.attempt
    instants = {
        "expires": order.expires_at,
        "promise": standing.next_update_by,
        "settled": order.settlement.settled_at if order.settlement else None,
        "arrived": attempt.succeeded_at if attempt else None,
    }
    received = attempt.received if attempt else None
    return {
        "channel": channel.in_language(language),
        "amount": order.amount.yuan,
        "received": (received or order.amount).yuan,
        "case": order_number(order.id),
    } | {
        name: clock_words(instant, language=language, now=now)
        for name, instant in instants.items()
        if instant is not None
    }
