"""The sandbox's direct channel over HTTP: our server charges, the answer comes at once.

Idempotent by attempt number for ever. Whatever is not exactly a known answer about exactly this
attempt is `Unknown`: the channel is asked again, and nothing is concluded.
"""

import logging
from datetime import datetime, timedelta
from typing import Annotated

import httpx2
import msgspec

from services.payment.application.ports import DueAttempt
from services.payment.domain.channel import Capabilities, ChannelKind, ChannelName
from services.payment.domain.channel_answer import (
    AwaitingPayer,
    ChannelAnswer,
    Declined,
    NotThere,
    Succeeded,
    Unknown,
    UnknownCause,
)
from services.payment.domain.failure_reason import FailureReason
from shared.kernel.clock import to_rfc3339
from shared.kernel.money import CURRENCY, Money

log = logging.getLogger(__name__)

SANDBOX_DIRECT = Capabilities(
    id="sandbox-direct",
    kind=ChannelKind.DIRECT,
    name=ChannelName(zh="测试银行", en="Test Bank"),
    # The sandbox never forgets an attempt; a day is longer than any order lives.
    idempotency_window=timedelta(hours=24),
    minimum=Money(1),
    maximum=Money(10_000_000_000),
)
CHARGES = "/direct/v1/charges"
# A charge has some 200 bytes; a larger answer is not one.
ANSWER_BYTES_MAX = 16 * 1024
DESCRIPTION = "基本养老保险 {period}"

REASONS = {
    "insufficient_balance": FailureReason.INSUFFICIENT_FUNDS,
    "insufficient_funds": FailureReason.INSUFFICIENT_FUNDS,
    "limit_exceeded": FailureReason.LIMIT_EXCEEDED,
    "account_restricted": FailureReason.ACCOUNT_RESTRICTED,
    "expired": FailureReason.EXPIRED,
}


class _Charge(msgspec.Struct, frozen=True):
    """The channel's answer about one attempt, as it is on the wire."""

    attempt_id: str
    status: Annotated[str, msgspec.Meta(max_length=32)]
    trade_no: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}\Z")]
    amount_fen: Annotated[int, msgspec.Meta(ge=1, le=10_000_000_000)]
    charged_at: Annotated[datetime, msgspec.Meta(tz=True)]
    reason: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class _Problem(msgspec.Struct, frozen=True):
    code: str


_decode_charge = msgspec.json.Decoder(_Charge).decode
_decode_problem = msgspec.json.Decoder(_Problem).decode


class SandboxDirectChannel:
    """Speaks to one sandbox through a client that the composition root owns and closes."""

    capabilities = SANDBOX_DIRECT

    def __init__(self, client: httpx2.AsyncClient, *, url: str) -> None:
        self._client = client
        self._charges = url.rstrip("/") + CHARGES

    async def start(self, due: DueAttempt) -> ChannelAnswer:
        attempt = due.attempt
        body = {
            "attempt_id": attempt.number,
            "amount_fen": attempt.amount.fen,
            "currency": CURRENCY,
            "payer_reference": due.payer_id.hex,
            "description": DESCRIPTION.format(period=due.period),
            "expires_at": to_rfc3339(attempt.expires_at),
        }
        return await self._ask("POST", self._charges, attempt.number, body)

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        number = due.attempt.number
        return await self._ask("GET", f"{self._charges}/{number}", number, None)

    async def _ask(
        self, method: str, url: str, number: str, body: dict[str, object] | None
    ) -> ChannelAnswer:
        try:
            async with self._client.stream(method, url, json=body) as response:
                content = await _read(response)
        except httpx2.TimeoutException:
            return Unknown(UnknownCause.TIMEOUT)
        except (httpx2.HTTPError, httpx2.StreamError, OSError):
            return Unknown(UnknownCause.CONNECTION)
        if response.status_code >= 500:
            return Unknown(UnknownCause.SERVER_ERROR)
        if content is None:
            return _nonsense(response.status_code, number)
        return _read_answer(method, response.status_code, content, number)


async def _read(response: httpx2.Response) -> bytes | None:
    """The whole body, or None where it is too large to be an answer."""
    content = b""
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            return None
    return content


def _read_answer(method: str, status: int, content: bytes, number: str) -> ChannelAnswer:
    try:
        if status == 200:
            return _outcome(_decode_charge(content), number)
        if (
            status == 404
            and method == "GET"
            and _decode_problem(content).code == ("charge_not_found")
        ):
            return NotThere()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return _nonsense(status, number)


def _outcome(charge: _Charge, number: str) -> ChannelAnswer:
    if charge.attempt_id != number:
        return _nonsense(200, number)
    match charge.status:
        case "succeeded":
            return Succeeded(charge.trade_no, Money(charge.amount_fen), charge.charged_at)
        case "declined":
            return Declined(REASONS.get(charge.reason or "", FailureReason.REJECTED))
        case "processing":
            return AwaitingPayer()
    return _nonsense(200, number)


def _nonsense(status: int, number: str) -> Unknown:
    """Nothing of the answer itself is logged: a stranger wrote it."""
    log.error(
        "channel_nonsense: %s answered %s about attempt %s", SANDBOX_DIRECT.id, status, number
    )
    return Unknown(UnknownCause.NONSENSE)
