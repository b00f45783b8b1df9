"""WeChat Pay (APIv3): H5, JSAPI, Native and App; query, close, callbacks.

Whatever is not an answer about exactly this attempt, verified by signature, is `Unknown`. Refusals
may come unsigned, and nothing is settled or closed by those.
"""

import json
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlencode

from services.payment.adapters.channels.http import ChannelHttp, Reply
from services.payment.adapters.wechatpay.callbacks import check_addressee, verified
from services.payment.adapters.wechatpay.calls import (
    WechatpayCalls,
    code_of,
    read,
    says_not_there,
)
from services.payment.adapters.wechatpay.cashier import WechatpayAccount, order, started
from services.payment.adapters.wechatpay.keys import WechatpayKeyFolder
from services.payment.adapters.wechatpay.messages import (
    Created,
    Meaningless,
    Transaction,
    told_by_transaction,
)
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
    NotThere,
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
from services.payment.domain.next_action import OrderedOtherwise, StartAnswer
from shared.kernel.clock import Clock
from shared.kernel.money import Money
from shared.kernel.wording import Wording

WECHATPAY = Capabilities(
    id="wechatpay",
    kind=ChannelKind.CASHIER,
    name=Wording(zh="微信支付", en="WeChat Pay"),
    # `out_trade_no` is unique for ever; a day is longer than any order lives.
    idempotency_window=timedelta(hours=24),
    minimum=Money(1),
    maximum=Money(10_000_000_000),
    methods=(
        Method(id="h5", opens_in=OpensIn.PHONE_BROWSER),
        Method(id="jsapi", opens_in=OpensIn.CHANNEL_APP, needs_openid=True),
        Method(id="native", opens_in=OpensIn.OTHER_DEVICE),
        Method(id="app", opens_in=OpensIn.OUR_APP),
    ),
    refund_window=timedelta(days=365),
    has_bill=True,
)
TRANSACTIONS = "/v3/pay/transactions"
# The order is there already, from a request that was not this one.
NUMBER_USED = "OUT_TRADE_NO_USED"
# The order is there already, in a state that only a query tells.
ASK_INSTEAD = frozenset({"ORDERPAID", "ORDER_CLOSED", NUMBER_USED, "TRADE_ERROR"})
ACKNOWLEDGED = ChannelReply(204, None, b"")
REFUSAL_STATUS = {
    RefusalReason.SIGNATURE: 401,
    RefusalReason.UNKNOWN_KEY: 401,
    RefusalReason.PROBE: 401,
    RefusalReason.STALE: 401,
    RefusalReason.UNAVAILABLE: 503,
}


class WechatpayChannel:
    """Speaks for one merchant number of ours; keys may change while it runs."""

    def __init__(
        self,
        http: ChannelHttp,
        *,
        account: WechatpayAccount,
        keys: WechatpayKeyFolder,
        clock: Clock,
    ) -> None:
        self._calls = WechatpayCalls(
            http, url=account.url, merchant_id=account.merchant_id, keys=keys, clock=clock
        )
        self._account = account
        self._keys = keys
        self._clock = clock

    @property
    def capabilities(self) -> Capabilities:
        return replace(WECHATPAY, usable=self._calls.is_usable)

    async def start(self, due: DueAttempt, payer: PayerDetails) -> StartAnswer:
        asked = order(self._account, due, payer)
        number = due.attempt.number
        reply = await self._calls.call(
            "POST", f"{TRANSACTIONS}/{payer.method}", asked, number=number
        )
        if isinstance(reply, Unknown):
            return reply
        if reply.status != 200:
            return await self._refused_start(reply, due)
        try:
            created = read(reply.body, Created)
        except ValueError:
            return self._calls.nonsense("start", "of an unknown shape", number=number)
        action = started(
            created,
            account=self._account,
            key=self._keys.keys.signing,
            payer=payer,
            expires_at=due.attempt.expires_at,
            now=self._clock.now(),
        )
        return action or self._calls.nonsense("start", "without an action", number=number)

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        number = due.attempt.number
        merchant = urlencode({"mchid": self._account.merchant_id})
        target = f"{TRANSACTIONS}/out-trade-no/{number}?{merchant}"
        reply = await self._calls.call("GET", target, number=number)
        if isinstance(reply, Unknown):
            return reply
        if says_not_there(reply):
            return NotThere()
        if reply.status != 200:
            return self._calls.refused(reply, number=number)
        try:
            return self._told_about(number, reply)
        except (ValueError, NotificationRefused):
            return self._calls.nonsense("query", "about something else", number=number)

    async def close(self, due: DueAttempt) -> ChannelAnswer:
        number = due.attempt.number
        target = f"{TRANSACTIONS}/out-trade-no/{number}/close"
        body = {"mchid": self._account.merchant_id}
        reply = await self._calls.call("POST", target, body, number=number)
        if isinstance(reply, Unknown):
            return reply
        if reply.status == 204:
            return Closed()
        if says_not_there(reply):
            return NotThere()
        return _final(await self._ask_instead(reply, due))

    def verify(self, notification: RawNotification) -> VerifiedNotification:
        return verified(
            notification, account=self._account, keys=self._keys.keys, now=self._clock.now()
        )

    @property
    def acknowledgement(self) -> ChannelReply:
        return ACKNOWLEDGED

    def refusal(self, reason: RefusalReason) -> ChannelReply:
        """Never with 200: that would count as accepted, whatever the body says."""
        body = json.dumps({"code": "FAIL", "message": reason.value}).encode()
        return ChannelReply(REFUSAL_STATUS.get(reason, 400), "application/json", body)

    def _told_about(self, number: str, reply: Reply) -> ChannelAnswer:
        """Raises ValueError or NotificationRefused where it is not about this order of ours."""
        transaction = read(reply.body, Transaction)
        if transaction.out_trade_no != number:
            raise Meaningless("another order")
        check_addressee(self._account, app_id=transaction.appid, merchant_id=transaction.mchid)
        return told_by_transaction(transaction)

    async def _refused_start(
        self, refusal: Reply, due: DueAttempt
    ) -> ChannelAnswer | OrderedOtherwise:
        answer = await self._ask_instead(refusal, due)
        if answer == AwaitingPayer() and code_of(refusal) == NUMBER_USED:
            return OrderedOtherwise()
        return Unknown(UnknownCause.SERVER_ERROR) if answer == NotThere() else _final(answer)

    async def _ask_instead(self, refusal: Reply, due: DueAttempt) -> ChannelAnswer:
        """What a query says, where the refusal means that the order has moved on."""
        if code_of(refusal) in ASK_INSTEAD:
            return await self.query(due)
        return self._calls.refused(refusal, number=due.attempt.number)


def _final(answer: ChannelAnswer) -> ChannelAnswer:
    """An order that only waits was refused for a reason of the moment."""
    return Unknown(UnknownCause.SERVER_ERROR) if answer == AwaitingPayer() else answer
