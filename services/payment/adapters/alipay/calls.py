"""Signed calls to Alipay's gateway, and answers that are believed only after verification."""

import json
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from services.payment.adapters.alipay.keys import AlipayKeyFolder
from services.payment.adapters.alipay.messages import (
    BUSINESS_FAILED,
    OK,
    Trade,
    decode_trade,
    is_in_our_currency,
    shanghai_time,
)
from services.payment.adapters.alipay.signing import SIGN_TYPE, signed, verified_response
from services.payment.adapters.channels.http import ChannelHttp
from services.payment.adapters.channels.rsa_signatures import NotVerified
from services.payment.domain.channel_answer import Unknown
from shared.kernel.clock import Clock

GATEWAY = "/gateway.do"
FORM = "application/x-www-form-urlencoded;charset=utf-8"
# Their own fault, not the order's: the same question later may be answered.
TRY_LATER = frozenset({"ACQ.SYSTEM_ERROR", "aop.unknow-error", "isp.unknow-error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AlipayAccount:
    """Who we are there. `cashier_url` is where a payer's browser finds the gateway."""

    url: str
    cashier_url: str
    app_id: str
    seller_id: str
    notify_url: str


class AlipayCalls:
    """Calls in the name of one app of ours."""

    def __init__(
        self, http: ChannelHttp, *, account: AlipayAccount, keys: AlipayKeyFolder, clock: Clock
    ) -> None:
        self._http = http
        self._account = account
        self._keys = keys
        self._clock = clock

    @property
    def is_usable(self) -> bool:
        return self._http.is_usable

    def request(
        self, method: str, content: dict[str, str], *, notify_url: str = "", return_url: str = ""
    ) -> dict[str, str]:
        """The signed parameters of a request; `content` is its `biz_content`."""
        keys = self._keys.keys
        parameters = {
            "app_id": self._account.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": SIGN_TYPE,
            "timestamp": shanghai_time(self._clock.now()),
            "version": "1.0",
            "notify_url": notify_url,
            "return_url": return_url,
            "app_cert_sn": keys.app_certificate_serial,
            "alipay_root_cert_sn": keys.root_serial,
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        }
        return signed(parameters, keys.signing)

    async def ask(
        self, method: str, content: dict[str, str], *, notify_url: str = ""
    ) -> Trade | Unknown:
        """The signed answer about the order that `content` names: done, or refused for it."""
        parameters = self.request(method, content, notify_url=notify_url)
        body = urlencode({"biz_content": parameters.pop("biz_content")}).encode()
        reply = await self._http.call(
            "POST",
            # The gateway reads the charset from the query before it decodes the body.
            f"{self._account.url}{GATEWAY}?{urlencode(parameters)}",
            headers={"Content-Type": FORM},
            content=body,
        )
        if isinstance(reply, Unknown):
            return reply
        number = content["out_trade_no"]
        if reply.status != 200:
            return self.nonsense(method, f"with status {reply.status}", number=number)
        try:
            keys = self._keys.keys.platform
            trade = decode_trade(verified_response(reply.body, method=method, keys=keys))
        except NotVerified as refused:
            return self.nonsense(method, refused.reason.value, number=number)
        except msgspec.DecodeError:
            return self.nonsense(method, "of an unknown shape", number=number)
        return self._judged(method, trade, number)

    def nonsense(self, method: str, what: str, *, number: str) -> Unknown:
        return self._http.nonsense(method, what, attempt_number=number)

    def _judged(self, method: str, trade: Trade, number: str) -> Trade | Unknown:
        if trade.code == OK and trade.out_trade_no == number:
            if is_in_our_currency(trade):
                return trade
            return self.nonsense(method, "in another currency", number=number)
        # A refusal need not repeat the number.
        if trade.code == OK or trade.out_trade_no not in ("", number):
            return self.nonsense(method, "about something else", number=number)
        if trade.code != BUSINESS_FAILED or trade.sub_code in TRY_LATER:
            refusal = f"{trade.code} {trade.sub_code}"
            return self._http.refused(refusal, attempt_number=number)
        return trade
