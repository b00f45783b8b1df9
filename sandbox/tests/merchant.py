"""The merchant's side for tests: signs requests with our keys and receives notifications.

Written apart from the services' adapters, so that neither can hide a mistake of the other.
"""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

import httpx2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.kernel.clock import SHANGHAI

APP_ID = "2021000000000001"
SELLER_ID = "2088000000000001"
WX_APP_ID = "wx0000000000000001"
MERCHANT_ID = "1900000001"
AMOUNT_FEN = 143_240


def private_key(path: Path) -> RSAPrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, RSAPrivateKey)
    return key


def public_key(content: bytes) -> RSAPublicKey:
    certificate = b"BEGIN CERTIFICATE" in content
    key = (
        x509.load_pem_x509_certificate(content).public_key()
        if certificate
        else serialization.load_pem_public_key(content)
    )
    assert isinstance(key, RSAPublicKey)
    return key


def signature(key: RSAPrivateKey, text: str) -> str:
    return base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()


def verifies(key: RSAPublicKey, text: str, signed: str) -> bool:
    try:
        key.verify(base64.b64decode(signed), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True)
class Received:
    """One notification as it arrived."""

    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass
class Mailbox:
    """A tiny HTTP server that keeps what is posted to it and answers as it is told."""

    url: str = ""
    answer: bytes = b"success"
    status: int = 200
    received: list[Received] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")[1:]
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.received.append(Received(headers, body, time.monotonic()))
        answer = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.answer)}\r\n"
        writer.write(f"{answer}Connection: close\r\n\r\n".encode() + self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    box.url = f"http://127.0.0.1:{port}/payment/v1/channels/any/notifications"
    async with server:
        yield box


class AlipayMerchant:
    """Signs as the documents of Alipay say."""

    def __init__(self, keys: Path, client: httpx2.AsyncClient) -> None:
        self._key = private_key(keys / "alipay" / "app" / "app-1.pem")
        self.platform = public_key((keys / "alipay/platform/platform-1.pem").read_bytes())
        self._client = client

    def parameters(self, method: str, business: object, **changes: str) -> dict[str, str]:
        found = {
            "app_id": APP_ID,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": datetime.now(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S"),
            "version": "1.0",
            "biz_content": json.dumps(business, ensure_ascii=False),
            **changes,
        }
        text = "&".join(f"{name}={found[name]}" for name in sorted(found) if found[name])
        return {**found, "sign": signature(self._key, text)}

    async def call(self, method: str, business: object, **changes: str) -> dict[str, str]:
        """The verified answer."""
        parameters = self.parameters(method, business, **changes)
        answer = await self._client.post("/gateway.do", data=parameters)
        return self.verified(answer.text, method)

    def verified(self, raw: str, method: str) -> dict[str, str]:
        root = f'{{"{method.replace(".", "_")}_response":'
        assert raw.startswith(root), raw[:200]
        body, _, rest = raw.removeprefix(root).rpartition(',"sign":"')
        assert verifies(self.platform, body, rest.removesuffix('"}'))
        found: dict[str, str] = json.loads(body)
        return found

    def is_genuine(self, form: dict[str, str]) -> bool:
        text = "&".join(
            f"{name}={form[name]}" for name in sorted(form) if name not in ("sign", "sign_type")
        )
        return verifies(self.platform, text, form["sign"])

    async def open(
        self, box: Mailbox, *, method: str = "alipay.trade.wap.pay", **order: str
    ) -> str:
        """Start a payment as a browser does; the address of the cashier."""
        parameters = self.parameters(method, an_alipay_order(**order), notify_url=box.url)
        answer = await self._client.get(f"/gateway.do?{urlencode(parameters)}")
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]


class WechatPayMerchant:
    """Signs as the documents of WeChat Pay say."""

    def __init__(self, keys: Path, client: httpx2.AsyncClient) -> None:
        [path] = (keys / "wechatpay" / "merchant").glob("*.pem")
        self._serial, self.key = path.stem, private_key(path)
        self.platform = {
            file.stem: public_key(file.read_bytes())
            for file in (keys / "wechatpay" / "platform").glob("*.pem")
        }
        self._apiv3 = (keys / "wechatpay/apiv3/apiv3-1.key").read_bytes().partition(b"\n")[2]
        self._client = client

    async def call(
        self, method: str, path: str, body: object = None, *, age: int = 0, serial: str = ""
    ) -> httpx2.Response:
        text = "" if body is None else json.dumps(body, ensure_ascii=False)
        at, nonce = str(int(time.time()) - age), secrets.token_hex(16)
        signed = signature(self.key, f"{method}\n{path}\n{at}\n{nonce}\n{text}\n")
        authorization = (
            f'WECHATPAY2-SHA256-RSA2048 mchid="{MERCHANT_ID}",nonce_str="{nonce}",'
            f'timestamp="{at}",serial_no="{self._serial}",signature="{signed}"'
        )
        headers = {"authorization": authorization, "wechatpay-serial": serial}
        return await self._client.request(method, path, content=text.encode(), headers=headers)

    def is_genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        key = self.platform[headers["wechatpay-serial"]]
        at, nonce = headers["wechatpay-timestamp"], headers["wechatpay-nonce"]
        text = f"{at}\n{nonce}\n{body.decode()}\n"
        return verifies(key, text, headers["wechatpay-signature"])

    def opened(self, resource: Mapping[str, str]) -> str:
        """The plain text of an encrypted resource."""
        return (
            AESGCM(self._apiv3)
            .decrypt(
                resource["nonce"].encode(),
                base64.b64decode(resource["ciphertext"]),
                resource["associated_data"].encode(),
            )
            .decode()
        )

    def trade_in(self, notification: Received) -> dict[str, object]:
        found: dict[str, object] = json.loads(
            self.opened(json.loads(notification.body)["resource"])
        )
        return found


def an_alipay_order(**changes: str) -> dict[str, str]:
    return {
        "out_trade_no": uuid4().hex,
        "total_amount": "1432.40",
        "subject": "基本养老保险费 2026-11",
        "product_code": "QUICK_WAP_WAY",
        "timeout_express": "30m",
        **changes,
    }


def a_wechatpay_order(box: Mailbox, **changes: object) -> dict[str, object]:
    return {
        "appid": WX_APP_ID,
        "mchid": MERCHANT_ID,
        "description": "基本养老保险费 2026-11",
        "out_trade_no": uuid4().hex,
        "time_expire": (datetime.now(UTC) + timedelta(minutes=30)).isoformat(timespec="seconds"),
        "notify_url": box.url,
        "amount": {"total": AMOUNT_FEN, "currency": "CNY"},
        "scene_info": {"payer_client_ip": "203.0.113.7", "h5_info": {"type": "Wap"}},
        "payer": {"openid": "o-payer"},
        **changes,
    }
