"""Callbacks as the channels send them, signed ahead of time with the stack's development keys.

The sandbox's own writers make them: the same wire, without the sandbox's pace.
"""

from pathlib import Path
from typing import Protocol

from bench.callback.prefill import OpenAttempt
from devstack.plan import (
    ALIPAY_APP_ID,
    ALIPAY_SELLER_ID,
    WECHATPAY_APP_ID,
    WECHATPAY_MERCHANT_ID,
)
from sandbox.alipay import requests as alipay
from sandbox.alipay.notices import AlipayNotices
from sandbox.faults.kinds import Kind
from sandbox.notifications import Event, Letter
from sandbox.rsa import read_alipay_keys, read_wechatpay_keys
from sandbox.trades import Channel, Trade
from sandbox.wechatpay import orders as wechatpay
from sandbox.wechatpay.notices import WechatPayNotices
from services.payment.cashiers import NOTIFICATIONS
from shared.kernel.clock import to_rfc3339

SUBJECT = "基本养老保险费 2026-11"
TRADE_NO_DIGITS = 28
CHANNELS: tuple[Channel, ...] = ("alipay", "wechatpay")


class _Notices(Protocol):
    def accepts(self, status: int, body: bytes) -> bool: ...

    def letter(
        self, trade: Trade, event: Event, notification_id: str, *, sent_count: int, lies: set[Kind]
    ) -> Letter: ...


class Letters:
    """Writes for both channels; `keys` holds the channels' half, as the sandbox reads it."""

    def __init__(self, keys: Path, *, host: str) -> None:
        self._host = host
        self._notices: dict[str, _Notices] = {
            "alipay": AlipayNotices(
                read_alipay_keys(keys / "alipay"), alipay.Merchant(ALIPAY_APP_ID, ALIPAY_SELLER_ID)
            ),
            "wechatpay": WechatPayNotices(
                read_wechatpay_keys(keys / "wechatpay"),
                wechatpay.Merchant(WECHATPAY_APP_ID, WECHATPAY_MERCHANT_ID),
                seed=1,
            ),
        }

    def request(self, attempt: OpenAttempt) -> bytes:
        """A whole HTTP request that tells of the payment of this attempt."""
        letter = self.letter(attempt)
        headers = {
            "Host": self._host,
            "User-Agent": "songhe-bench",
            "Accept": "*/*",
            "Content-Length": str(len(letter.body)),
            **letter.headers,
        }
        path = NOTIFICATIONS.format(channel=attempt.channel)
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + letter.body

    def letter(self, attempt: OpenAttempt) -> Letter:
        notices, trade = self._notices[attempt.channel], _paid(attempt)
        return notices.letter(trade, "paid", attempt.attempt_id.hex, sent_count=1, lies=set())

    def accepts(self, channel: str, status: int, body: bytes) -> bool:
        """Whether the channel takes this answer for success."""
        return self._notices[channel].accepts(status, body)


def _paid(attempt: OpenAttempt) -> Trade:
    """What the channel has in its books once the payer has paid."""
    paid_at = to_rfc3339(attempt.created_at)
    until = to_rfc3339(attempt.expires_at)
    return Trade(
        seq=0,
        channel=next(known for known in CHANNELS if known == attempt.channel),
        out_trade_no=attempt.attempt_id.hex,
        method=attempt.method,
        token="",
        trade_no=str(attempt.attempt_id.int)[:TRADE_NO_DIGITS],
        amount_fen=attempt.amount_fen,
        description=SUBJECT,
        notify_url="",
        return_url="",
        passed_back="",
        payer="o-somebody",
        status="paid",
        created_at=paid_at,
        expires_at=until,
        link_expires_at=until,
        pays_late_at=None,
        paid_at=paid_at,
        paid_fen=attempt.amount_fen,
        closed_at=None,
    )
