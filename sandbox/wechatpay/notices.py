"""WeChat Pay's notifications: encrypted, signed with either key, repeated for a day."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys

from sandbox.faults.kinds import Kind
from sandbox.notifications import Event, Letter
from sandbox.rsa import WechatPayKeys
from sandbox.trades import Trade
from sandbox.wechatpay.orders import Merchant, shanghai_rfc3339, view
from sandbox.wechatpay.signing import encrypted, signed_headers
from shared.kernel.clock import to_rfc3339

# The published schedule: fifteen repeats over 24 hours and 4 minutes.
RETRIES = tuple(
    timedelta(seconds=seconds)
    for seconds in (
        *(15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600),
        *(10800, 10800, 10800, 21600, 21600),
    )
)
ACCEPTED = (200, 204)
STALE_SECONDS = 600
OTHER_MERCHANT = Merchant("wx0000000000009999", "1900009999")
Probe = Literal["signtest", "security_echo"]


class WechatPayNotices:
    """Speaks for WeChat Pay; which of its two keys signs is drawn from the seed."""

    def __init__(self, keys: WechatPayKeys, merchant: Merchant, *, seed: int) -> None:
        self._keys = keys
        self._merchant = merchant
        self._seed = seed

    @property
    def retries(self) -> Sequence[timedelta]:
        return RETRIES

    def accepts(self, status: int, body: bytes) -> bool:
        return status in ACCEPTED

    def letter(
        self, trade: Trade, event: Event, notification_id: str, *, sent_count: int, lies: set[Kind]
    ) -> Letter:
        merchant = OTHER_MERCHANT if "other_merchant" in lies else self._merchant
        fen = (trade.paid_fen or trade.amount_fen) + (1 if "wrong_amount" in lies else 0)
        body = self._body(
            notification_id,
            event_type="TRANSACTION.SUCCESS",
            original_type="transaction",
            summary="支付成功",
            created_at=trade.paid_at or trade.created_at,
            resource=view(trade, merchant, paid_fen=fen),
        )
        return self._signed(body, draw=f"{notification_id}:{sent_count}", lies=lies)

    def probe(self, kind: Probe) -> Letter:
        """What WeChat Pay sends to see whether a merchant verifies; see its self-test."""
        now = to_rfc3339(datetime.now(UTC))
        notification_id = sha256(f"{kind}:{now}".encode()).hexdigest()[:32]
        body = self._body(
            notification_id,
            event_type="SECURITY_ECHO.SUCCESS",
            original_type="security_echo",
            summary="回调验证",
            created_at=now,
            resource={"mchid": self._merchant.merchant_id, "echo": notification_id},
        )
        letter = self._signed(body, draw=notification_id, lies=set())
        if kind == "security_echo":
            return letter
        signature = letter.headers["Wechatpay-Signature"]
        false = {"Wechatpay-Signature": f"WECHATPAY/SIGNTEST/{signature}"}
        return Letter({**letter.headers, **false}, letter.body)

    def _body(
        self,
        notification_id: str,
        *,
        event_type: str,
        original_type: str,
        summary: str,
        created_at: str,
        resource: Mapping[str, object],
    ) -> str:
        sealed = encrypted(_json(resource), self._keys.apiv3, original_type)
        return _json(
            {
                "id": notification_id,
                "create_time": shanghai_rfc3339(created_at),
                "resource_type": "encrypt-resource",
                "event_type": event_type,
                "summary": summary,
                "resource": {**sealed, "original_type": original_type},
            }
        )

    def _signed(self, body: str, *, draw: str, lies: set[Kind]) -> Letter:
        serials = sorted(self._keys.platform)
        digest = sha256(f"{self._seed}:serial:{draw}".encode()).digest()
        serial = serials[digest[0] % len(serials)]
        key = self._strangers_key if "forged_signature" in lies else self._keys.platform[serial]
        age = STALE_SECONDS if "stale_timestamp" in lies else 0
        headers = signed_headers(body, serial=serial, key=key, age_seconds=age)
        return Letter({"Content-Type": "application/json", **headers}, body.encode())

    @cached_property
    def _strangers_key(self) -> rsa_keys.RSAPrivateKey:
        return rsa_keys.generate_private_key(public_exponent=65537, key_size=2048)


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
