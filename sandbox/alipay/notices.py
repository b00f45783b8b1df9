"""Alipay's notifications: a form, signed, sent until the answer is the word `success`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys

from sandbox.alipay.requests import Merchant, shanghai_text
from sandbox.alipay.signing import signed_notification
from sandbox.faults.kinds import Kind
from sandbox.notifications import Event, Letter
from sandbox.rsa import AlipayKeys
from sandbox.trades import Trade

# The published schedule: eight notifications within 25 hours.
RETRIES = (
    timedelta(minutes=4),
    timedelta(minutes=10),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=15),
)
STATES: dict[Event, str] = {
    "paid": "TRADE_SUCCESS",
    "finished": "TRADE_FINISHED",
    "closed": "TRADE_CLOSED",
}
BUYER_ID = "2088102100000001"
BUYER_LOGON_ID = "138****8000"
OTHER_SELLER_ID = "2088000000009999"
OTHER_APP_ID = "2021000000009999"
STALE = timedelta(days=2)


class AlipayNotices:
    """Speaks for Alipay."""

    def __init__(self, keys: AlipayKeys, merchant: Merchant) -> None:
        self._keys = keys
        self._merchant = merchant

    @property
    def retries(self) -> Sequence[timedelta]:
        return RETRIES

    def accepts(self, status: int, body: bytes) -> bool:
        return status == 200 and body == b"success"

    def letter(
        self, trade: Trade, event: Event, notification_id: str, *, sent_count: int, lies: set[Kind]
    ) -> Letter:
        parameters = self._parameters(trade, event, notification_id, lies)
        key = self._strangers_key if "forged_signature" in lies else self._keys.platform
        body = urlencode(signed_notification(parameters, key)).encode()
        media_type = "application/x-www-form-urlencoded; charset=utf-8"
        return Letter({"Content-Type": media_type}, body)

    @cached_property
    def _strangers_key(self) -> rsa_keys.RSAPrivateKey:
        return rsa_keys.generate_private_key(public_exponent=65537, key_size=2048)

    def _parameters(
        self, trade: Trade, event: Event, notification_id: str, lies: set[Kind]
    ) -> dict[str, str]:
        now = datetime.now(UTC) - (STALE if "stale_timestamp" in lies else timedelta())
        other = "other_merchant" in lies
        app_id = OTHER_APP_ID if other else self._merchant.app_id
        fen = (trade.paid_fen or trade.amount_fen) + (1 if "wrong_amount" in lies else 0)
        found = {
            "notify_time": shanghai_text(now),
            "notify_type": "trade_status_sync",
            "notify_id": notification_id,
            "app_id": app_id,
            "auth_app_id": app_id,
            "charset": "utf-8",
            "version": "1.0",
            "trade_no": trade.trade_no,
            "out_trade_no": trade.out_trade_no,
            "seller_id": OTHER_SELLER_ID if other else self._merchant.seller_id,
            "buyer_id": BUYER_ID,
            "buyer_logon_id": BUYER_LOGON_ID,
            "trade_status": STATES[event],
            "total_amount": yuan(fen),
            "subject": trade.description,
            "gmt_create": _local(trade.created_at),
        }
        if trade.passed_back:
            found["passback_params"] = trade.passed_back
        if event == "closed":
            return found | {"gmt_close": _local(trade.closed_at or trade.expires_at)}
        paid = {name: yuan(fen) for name in ("receipt_amount", "buyer_pay_amount")}
        return found | paid | {"gmt_payment": _local(trade.paid_at or trade.created_at)}


def yuan(fen: int) -> str:
    """`1432.40`, as the wire wants it."""
    return f"{fen // 100}.{fen % 100:02d}"


def _local(text: str) -> str:
    return shanghai_text(datetime.fromisoformat(text))
