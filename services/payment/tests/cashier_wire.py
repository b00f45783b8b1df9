"""The other side of both cashier channels' wire: signs answers and notifications for tests."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.payment.adapters.alipay.calls import AlipayAccount
from services.payment.adapters.alipay.channel import AlipayChannel
from services.payment.adapters.alipay.keys import AlipayKeyFolder
from services.payment.adapters.alipay.signing import response_root, string_to_verify
from services.payment.adapters.channels.circuit import Circuit
from services.payment.adapters.channels.http import ChannelHttp
from services.payment.adapters.channels.rsa_signatures import sign
from services.payment.adapters.wechatpay.cashier import WechatpayAccount
from services.payment.adapters.wechatpay.channel import WechatpayChannel
from services.payment.adapters.wechatpay.keys import WechatpayKeyFolder
from services.payment.adapters.wechatpay.signing import answer_message
from services.payment.domain.channel_notification import RawNotification
from services.payment.tests.channel_keys import (
    a_certificate,
    an_rsa_key,
    private_pem,
    public_pem,
)
from shared.kernel.clock import Clock
from testing.clock import FixedClock

NOW = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
NUMBER = "0190f3c2a5b47c8e9d10a1b2c3d4e5f6"  # pragma: allowlist secret
CALLBACKS = "https://pay.example.org/payment/v1/channels"
RETURN_URL = "https://pay.example.org/payment/v1/returns/abc"
PUBLIC_KEY_ID = "PUB_KEY_ID_0119000000012026"
SERIAL = "5157F09EFDC096DE"  # pragma: allowlist secret

Handler = Callable[[httpx2.Request], httpx2.Response]


def channel_http(channel: str, handler: Handler, circuit: Circuit | None = None) -> ChannelHttp:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(handler), trust_env=False)
    return ChannelHttp(client, channel=channel, timeout_seconds=1.0, circuit=circuit)


@dataclass
class AlipaySide:
    """Alipay's private keys, and a key folder of ours that believes them."""

    folder: Path
    app: rsa.RSAPrivateKey = field(default_factory=lambda: an_rsa_key("app"))
    platform: rsa.RSAPrivateKey = field(default_factory=lambda: an_rsa_key("alipay"))

    def __post_init__(self) -> None:
        for name, pem in (
            ("app/app-1.pem", private_pem(self.app)),
            ("platform/platform-1.pem", public_pem(self.platform)),
        ):
            write(self.folder / name, pem)

    @cached_property
    def keys(self) -> AlipayKeyFolder:
        """Read when first asked for: checking a private key takes its time."""
        return AlipayKeyFolder(self.folder)

    def channel(self, handler: Handler, clock: Clock | None = None) -> AlipayChannel:
        account = AlipayAccount(
            url="https://gateway.test",
            cashier_url="https://cashier.test",
            app_id="2021000000000001",
            seller_id="2088000000000001",
            notify_url=f"{CALLBACKS}/alipay/notifications",
        )
        return AlipayChannel(
            channel_http("alipay", handler),
            account=account,
            keys=self.keys,
            clock=clock or FixedClock(NOW),
        )

    def answer(self, method: str, root: str | None = None, /, **content: Any) -> bytes:
        """A signed response."""
        text = json.dumps(content, ensure_ascii=False)
        signature = sign(self.platform, text.encode())
        return f'{{"{root or response_root(method)}":{text},"sign":"{signature}"}}'.encode()

    def notification(self, **changes: str | None) -> RawNotification:
        """A signed notification of a payment; None leaves a parameter out."""
        told = {
            "notify_time": "2026-11-24 12:29:58",
            "notify_type": "trade_status_sync",
            "notify_id": "2026112400222122958090101450000001",
            "app_id": "2021000000000001",
            "auth_app_id": "2021000000000001",
            "charset": "utf-8",
            "version": "1.0",
            "trade_no": "2026112422001090101450000001",
            "out_trade_no": NUMBER,
            "buyer_id": "2088102534368455",
            "buyer_logon_id": "xud***@126.com",
            "seller_id": "2088000000000001",
            "trade_status": "TRADE_SUCCESS",
            "total_amount": "1509.20",
            "receipt_amount": "1509.20",
            "buyer_pay_amount": "1509.20",
            "subject": "基本养老保险费 2026-11",
            "gmt_create": "2026-11-24 12:29:40",
            "gmt_payment": "2026-11-24 12:29:57",
            "fund_bill_list": '[{"amount":"1509.20","fundChannel":"ALIPAYACCOUNT"}]',
        } | changes
        present = {name: value for name, value in told.items() if value is not None}
        signature = sign(self.platform, string_to_verify(present).encode())
        form = present | {"sign_type": "RSA2", "sign": signature}
        return RawNotification(
            {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
            urlencode(form).encode(),
        )


@dataclass
class WechatpaySide:
    """WeChat Pay's private keys by serial, and a key folder of ours that believes them."""

    folder: Path
    merchant: rsa.RSAPrivateKey = field(default_factory=lambda: an_rsa_key("merchant"))
    platform: dict[str, rsa.RSAPrivateKey] = field(
        default_factory=lambda: {
            SERIAL: an_rsa_key("certificate"),
            PUBLIC_KEY_ID: an_rsa_key("public key"),
        }
    )
    apiv3: str = "0123456789abcdefghijklmnopqrstuv"  # pragma: allowlist secret

    def __post_init__(self) -> None:
        certificate = a_certificate(self.platform[SERIAL], serial=int(SERIAL, 16))
        for name, content in (
            ("merchant/A1B2C3D4.pem", private_pem(self.merchant)),
            (f"platform/{SERIAL}.pem", certificate),
            (f"platform/{PUBLIC_KEY_ID}.pem", public_pem(self.platform[PUBLIC_KEY_ID])),
            ("apiv3/apiv3-1.key", self.apiv3.encode()),
        ):
            write(self.folder / name, content)

    @cached_property
    def keys(self) -> WechatpayKeyFolder:
        return WechatpayKeyFolder(self.folder)

    def channel(self, handler: Handler, clock: Clock | None = None) -> WechatpayChannel:
        account = WechatpayAccount(
            url="https://api.test",
            app_id="wx0000000000000001",
            merchant_id="1900000001",
            notify_url=f"{CALLBACKS}/wechatpay/notifications",
        )
        return WechatpayChannel(
            channel_http("wechatpay", handler),
            account=account,
            keys=self.keys,
            clock=clock or FixedClock(NOW),
        )

    def headers(self, body: bytes, *, serial: str = SERIAL, at: datetime = NOW) -> dict[str, str]:
        timestamp, nonce = str(int(at.timestamp())), "593BEC0C930BF1AFEB40B4A08C8FB242"
        message = answer_message(timestamp, nonce, body)
        return {
            "wechatpay-timestamp": timestamp,
            "wechatpay-nonce": nonce,
            "wechatpay-serial": serial,
            "wechatpay-signature": sign(self.platform[serial], message),
            "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
        }

    def reply(self, status: int, body: bytes | dict[str, Any]) -> httpx2.Response:
        """A signed answer."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx2.Response(status, content=content, headers=self.headers(content))

    def transaction(self, **changes: Any) -> dict[str, Any]:
        return {
            "appid": "wx0000000000000001",
            "mchid": "1900000001",
            "out_trade_no": NUMBER,
            "transaction_id": "4200002026112400000001",
            "trade_type": "MWEB",
            "trade_state": "SUCCESS",
            "trade_state_desc": "支付成功",
            "bank_type": "CMC_DEBIT",
            "success_time": "2026-11-24T12:29:57+08:00",
            "payer": {"openid": "o-payer-of-a-test"},
            "amount": {
                "total": 150920,
                "payer_total": 150920,
                "currency": "CNY",
                "payer_currency": "CNY",
            },
        } | changes

    def notification(
        self,
        content: dict[str, Any] | bytes | None = None,
        *,
        serial: str = SERIAL,
        at: datetime = NOW,
        apiv3: str | None = None,
        **changes: Any,
    ) -> RawNotification:
        """A signed callback whose resource is sealed; `changes` are of the outer message."""
        plain = content if content is not None else self.transaction()
        clear = plain if isinstance(plain, bytes) else json.dumps(plain).encode()
        nonce, associated = "wCq51qZv4Yfg", "transaction"
        sealed = AESGCM((apiv3 or self.apiv3).encode()).encrypt(
            nonce.encode(), clear, associated.encode()
        )
        event = {
            "id": "EV-2026112412295800001",
            "create_time": "2026-11-24T12:29:58+08:00",
            "event_type": "TRANSACTION.SUCCESS",
            "resource_type": "encrypt-resource",
            "summary": "支付成功",
            "resource": {
                "algorithm": "AEAD_AES_256_GCM",
                "original_type": "transaction",
                "associated_data": associated,
                "nonce": nonce,
                "ciphertext": base64.b64encode(sealed).decode(),
            },
        } | changes
        body = json.dumps(event, ensure_ascii=False).encode()
        return RawNotification(self.headers(body, serial=serial, at=at), body)


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
