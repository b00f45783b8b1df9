"""Signed calls to WeChat Pay, and answers that are believed only after verification."""

import json
import secrets
from typing import Any, TypeVar

import msgspec

from services.payment.adapters.channels import strict_json
from services.payment.adapters.channels.http import ChannelHttp, Reply
from services.payment.adapters.channels.rsa_signatures import NotVerified
from services.payment.adapters.wechatpay.keys import WechatpayKeyFolder
from services.payment.adapters.wechatpay.messages import Problem
from services.payment.adapters.wechatpay.signing import authorization, check_signature
from services.payment.domain.channel_answer import Unknown
from shared.kernel.clock import Clock

USER_AGENT = "songhe-payment"

Message = TypeVar("Message")


class WechatpayCalls:
    """Calls in the name of one merchant number."""

    def __init__(
        self,
        http: ChannelHttp,
        *,
        url: str,
        merchant_id: str,
        keys: WechatpayKeyFolder,
        clock: Clock,
    ) -> None:
        self._http = http
        self._url = url
        self._merchant_id = merchant_id
        self._keys = keys
        self._clock = clock

    @property
    def is_usable(self) -> bool:
        return self._http.is_usable

    async def call(
        self, method: str, target: str, content: dict[str, Any] | None = None, *, number: str
    ) -> Reply | Unknown:
        """A verified answer about the attempt with this number.

        A refusal may come without a signature (the official SDKs do not look for one there),
        never with a wrong one.
        """
        body = "" if content is None else _compact(content)
        reply = await self._http.call(
            method,
            self._url + target,
            headers=self._headers(method, target, body),
            content=body.encode() if content is not None else None,
        )
        if isinstance(reply, Unknown):
            return reply
        if reply.status >= 400 and "wechatpay-signature" not in reply.headers:
            return reply
        try:
            platform = self._keys.keys.platform
            check_signature(reply.headers, reply.body, keys=platform, now=self._clock.now())
        except NotVerified as refused:
            return self.nonsense(method, refused.reason.value, number=number)
        return reply

    def nonsense(self, call: str, what: str, *, number: str) -> Unknown:
        return self._http.nonsense(call, what, attempt_number=number)

    def refused(self, reply: Reply, *, number: str) -> Unknown:
        """For a refusal that says nothing about the money, but perhaps about our settings."""
        return self._http.refused(f"{reply.status} {code_of(reply)}", attempt_number=number)

    def _headers(self, method: str, target: str, body: str) -> dict[str, str]:
        keys = self._keys.keys
        headers = {
            "Authorization": authorization(
                method=method,
                target=target,
                body=body,
                merchant_id=self._merchant_id,
                serial=keys.merchant_serial,
                key=keys.signing,
                timestamp=int(self._clock.now().timestamp()),
                nonce=a_nonce(),
            ),
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
        }
        if keys.requested_serial is not None:
            headers["Wechatpay-Serial"] = keys.requested_serial
        return headers


def read(content: bytes, kind: type[Message]) -> Message:
    """Raises ValueError where it is not exactly such a message, or can be read in two ways."""
    return msgspec.convert(strict_json.parse(content), kind)


def code_of(reply: Reply) -> str:
    """The code of a refusal; empty where it has none that we could read."""
    try:
        return read(reply.body, Problem).code
    except ValueError:
        return ""


def says_not_there(reply: Reply) -> bool:
    return reply.status == 404 and code_of(reply) == "ORDER_NOT_EXIST"


def a_nonce() -> str:
    return secrets.token_hex(16).upper()


def _compact(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
