"""Alipay (OpenAPI 2.0, RSA2): phone browser, app and QR code; query, close, notifications.

Only TRADE_SUCCESS and TRADE_FINISHED are paid. An order that nobody opened in the cashier does not
exist there yet. Whatever is not a signed answer about exactly this attempt is `Unknown`.
"""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlencode

import msgspec

from services.payment.adapters.alipay.calls import GATEWAY, AlipayAccount, AlipayCalls
from services.payment.adapters.alipay.keys import AlipayKeyFolder
from services.payment.adapters.alipay.messages import (
    OK,
    TRADE_NOT_EXIST,
    Meaningless,
    Notification,
    is_in_our_currency,
    shanghai_time,
    told_by_notification,
    told_by_query,
    yuan,
)
from services.payment.adapters.alipay.signing import check_notification, read_form
from services.payment.adapters.channels.http import ChannelHttp
from services.payment.adapters.channels.rsa_signatures import NotVerified
from services.payment.application.ports import DueAttempt, PayerDetails
from services.payment.domain.channel import (
    Capabilities,
    ChannelKind,
    Method,
    OpensIn,
)
from services.payment.domain.channel_answer import (
    AwaitingPayer,
    ChannelAnswer,
    Closed,
    Declined,
    NotThere,
    Succeeded,
    Unknown,
    UnknownCause,
)
from services.payment.domain.channel_notification import (
    ChannelReply,
    NotificationRefused,
    RawNotification,
    RefusalReason,
    VerifiedNotification,
)
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.next_action import (
    OrderedOtherwise,
    QrCode,
    Redirect,
    SdkString,
    StartAnswer,
    Started,
)
from shared.kernel.clock import Clock
from shared.kernel.money import Money
from shared.kernel.wording import Wording

ALIPAY = Capabilities(
    id="alipay",
    kind=ChannelKind.CASHIER,
    name=Wording(zh="支付宝", en="Alipay"),
    # `out_trade_no` is unique for ever; a day is longer than any order lives.
    idempotency_window=timedelta(hours=24),
    # 0.01 to 100,000,000 yuan.
    minimum=Money(1),
    maximum=Money(10_000_000_000),
    methods=(
        Method(id="wap", opens_in=OpensIn.PHONE_BROWSER),
        Method(id="app", opens_in=OpensIn.OUR_APP),
        Method(id="qr", opens_in=OpensIn.OTHER_DEVICE),
    ),
    refund_window=timedelta(days=365),
    has_bill=True,
)
SUBJECT = "基本养老保险费 {period}"
CREATE, QUERY, CLOSE = "alipay.trade.precreate", "alipay.trade.query", "alipay.trade.close"
# What the SDK in the app and the phone's browser are sent to, and the product each belongs to.
PAGES = {
    "wap": ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
    "app": ("alipay.trade.app.pay", "QUICK_MSECURITY_PAY"),
}
QR_PRODUCT = "FACE_TO_FACE_PAYMENT"
# The number is there already, from a request that was not this one.
OTHER_CONTENT = "ACQ.CONTEXT_INCONSISTENT"
DECLINES = {
    "ACQ.TOTAL_FEE_EXCEED": FailureReason.LIMIT_EXCEEDED,
    "ACQ.BUYER_BALANCE_NOT_ENOUGH": FailureReason.INSUFFICIENT_FUNDS,
    "ACQ.ACCESS_FORBIDDEN": FailureReason.CHANNEL_UNAVAILABLE,
}
ACKNOWLEDGED = ChannelReply(200, "text/plain", b"success")


class AlipayChannel:
    """Speaks for one app of ours; keys may change while it runs."""

    def __init__(
        self, http: ChannelHttp, *, account: AlipayAccount, keys: AlipayKeyFolder, clock: Clock
    ) -> None:
        self._calls = AlipayCalls(http, account=account, keys=keys, clock=clock)
        self._account = account
        self._keys = keys
        self._clock = clock

    @property
    def capabilities(self) -> Capabilities:
        return replace(ALIPAY, usable=self._calls.is_usable)

    async def start(self, due: DueAttempt, payer: PayerDetails) -> StartAnswer:
        """Pages are signed here and call nobody: the order begins when the payer opens one."""
        if payer.method == "qr":
            return await self._create_qr(due)
        method, product = PAGES[payer.method]
        parameters = self._calls.request(
            method,
            self._order(due, product),
            notify_url=self._account.notify_url,
            return_url=payer.return_url or "",
        )
        query = urlencode(parameters)
        if payer.method == "app":
            return Started(SdkString(query), due.attempt.expires_at)
        url = f"{self._account.cashier_url}{GATEWAY}?{query}"
        return Started(Redirect(url), due.attempt.expires_at)

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        trade = await self._calls.ask(QUERY, {"out_trade_no": due.attempt.number})
        if isinstance(trade, Unknown):
            return trade
        try:
            return told_by_query(trade, asked_at=self._clock.now())
        except Meaningless as why:
            return self._calls.nonsense(QUERY, str(why), number=due.attempt.number)

    async def close(self, due: DueAttempt) -> ChannelAnswer:
        trade = await self._calls.ask(CLOSE, {"out_trade_no": due.attempt.number})
        if isinstance(trade, Unknown):
            return trade
        if trade.code == OK:
            return Closed()
        if trade.sub_code == TRADE_NOT_EXIST:
            return NotThere()
        # Paid, or closed before: only a query tells which.
        answer = await self.query(due)
        return _refused() if answer == AwaitingPayer() else answer

    def verify(self, notification: RawNotification) -> VerifiedNotification:
        try:
            parameters = read_form(notification.body)
            check_notification(parameters, self._keys.platform)
            told = msgspec.convert(parameters, Notification)
            self._check_addressee(told)
            return told_by_notification(told)
        except NotVerified as refused:
            raise NotificationRefused(refused.reason) from None
        except (msgspec.ValidationError, Meaningless):
            raise NotificationRefused(RefusalReason.MALFORMED) from None

    @property
    def acknowledgement(self) -> ChannelReply:
        return ACKNOWLEDGED

    def refusal(self, reason: RefusalReason) -> ChannelReply:
        """Whatever is not exactly `success` is sent again, eight times in 25 hours."""
        status = 503 if reason is RefusalReason.UNAVAILABLE else 400
        return ChannelReply(status, "text/plain", b"fail")

    async def _create_qr(self, due: DueAttempt) -> StartAnswer:
        order = self._order(due, QR_PRODUCT)
        trade = await self._calls.ask(CREATE, order, notify_url=self._account.notify_url)
        if isinstance(trade, Unknown):
            return trade
        if trade.code == OK and trade.qr_code is None:
            return self._calls.nonsense(CREATE, "no QR code", number=due.attempt.number)
        if trade.code == OK:
            return Started(QrCode(trade.qr_code or ""), due.attempt.expires_at)
        if trade.sub_code in DECLINES:
            return Declined(DECLINES[trade.sub_code])
        # Perhaps it was paid, or closed, after an earlier send.
        answer = await self.query(due)
        if isinstance(answer, Closed | Succeeded):
            return answer
        is_unpaid = isinstance(answer, AwaitingPayer | NotThere)
        return OrderedOtherwise() if is_unpaid and trade.sub_code == OTHER_CONTENT else _refused()

    def _order(self, due: DueAttempt, product: str) -> dict[str, str]:
        attempt = due.attempt
        return {
            "out_trade_no": attempt.number,
            "total_amount": yuan(attempt.amount),
            "subject": SUBJECT.format(period=due.period),
            "product_code": product,
            "time_expire": shanghai_time(attempt.expires_at),
        }

    def _check_addressee(self, told: Notification) -> None:
        if told.app_id != self._account.app_id:
            raise NotificationRefused(RefusalReason.OTHER_APP)
        if told.seller_id != self._account.seller_id:
            raise NotificationRefused(RefusalReason.OTHER_MERCHANT)
        if not is_in_our_currency(told):
            raise NotificationRefused(RefusalReason.OTHER_CURRENCY)
        if told.charset.lower() != "utf-8":
            raise NotificationRefused(RefusalReason.MALFORMED)


def _refused() -> Unknown:
    return Unknown(UnknownCause.SERVER_ERROR)
