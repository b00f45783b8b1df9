"""Bank direct debit over HTTP: our server debits, after notice and by day.

Idempotent by attempt number for ever. Whatever is not exactly a known answer about exactly this
attempt is `Unknown`: the channel is asked again, and nothing is concluded.
"""

import logging
from datetime import datetime, timedelta
from typing import Annotated

import httpx2
import msgspec

from services.payment.application.ports import DueAttempt
from services.payment.domain.channel import Capabilities, ChannelKind
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
from shared.kernel.clock import Clock, to_rfc3339
from shared.kernel.money import CURRENCY, Money
from shared.kernel.wording import Wording

log = logging.getLogger(__name__)

BANK_DIRECT_DEBIT = Capabilities(
    id="bank-direct-debit",
    kind=ChannelKind.DIRECT,
    name=Wording(zh="银行代扣", en="Bank direct debit"),
    # The bank never forgets an attempt; a day is longer than a send is tried again.
    idempotency_window=timedelta(hours=24),
    minimum=Money(1),
    maximum=Money(10_000_000_000),
)
DEBITS = "/bank/v1/debits"
# A debit has some 200 bytes; a larger answer is not one.
ANSWER_BYTES_MAX = 16 * 1024
DESCRIPTION = "基本养老保险 {period}"

REASONS = {
    "insufficient_balance": FailureReason.INSUFFICIENT_FUNDS,
    "insufficient_funds": FailureReason.INSUFFICIENT_FUNDS,
    "limit_exceeded": FailureReason.LIMIT_EXCEEDED,
    "account_restricted": FailureReason.ACCOUNT_RESTRICTED,
    "expired": FailureReason.EXPIRED,
}


class _Debit(msgspec.Struct, frozen=True):
    """The channel's answer about one attempt, as it is on the wire."""

    attempt_id: str
    status: Annotated[str, msgspec.Meta(max_length=32)]
    trade_no: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}\Z")]
    amount_fen: Annotated[int, msgspec.Meta(ge=1, le=10_000_000_000)]
    charged_at: Annotated[datetime, msgspec.Meta(tz=True)]
    reason: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class _Problem(msgspec.Struct, frozen=True):
    code: str


_decode_debit = msgspec.json.Decoder(_Debit).decode
_decode_problem = msgspec.json.Decoder(_Problem).decode


class BankDirectDebitChannel:
    """Speaks to one bank through a client that the composition root owns and closes.

    Outside of the hours of debits nothing is sent, however late a send is tried again.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        *,
        url: str,
        clock: Clock,
        capabilities: Capabilities = BANK_DIRECT_DEBIT,
    ) -> None:
        self.capabilities = capabilities
        self._client = client
        self._clock = clock
        self._debits = url.rstrip("/") + DEBITS

    async def start(self, due: DueAttempt) -> ChannelAnswer:
        attempt = due.attempt
        window, now = self.capabilities.debit_window, self._clock.now()
        if window is not None and window.allowed_at(now) > now:
            return NotThere()
        body = {
            "attempt_id": attempt.number,
            "amount_fen": attempt.amount.fen,
            "currency": CURRENCY,
            "payer_reference": due.payer_id.hex,
            "description": DESCRIPTION.format(period=due.period),
            "expires_at": to_rfc3339(attempt.expires_at),
        }
        return await self._ask("POST", self._debits, attempt.number, body)

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        number = due.attempt.number
        return await self._ask("GET", f"{self._debits}/{number}", number, None)

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
            return _outcome(_decode_debit(content), number)
        if (
            status == 404
            and method == "GET"
            and _decode_problem(content).code == ("debit_not_found")
        ):
            return NotThere()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return _nonsense(status, number)


def _outcome(debit: _Debit, number: str) -> ChannelAnswer:
    if debit.attempt_id != number:
        return _nonsense(200, number)
    match debit.status:
        case "succeeded":
            return Succeeded(debit.trade_no, Money(debit.amount_fen), debit.charged_at)
        case "declined":
            return Declined(REASONS.get(debit.reason or "", FailureReason.REJECTED))
        case "accepted" | "processing":
            return AwaitingPayer()
    return _nonsense(200, number)


def _nonsense(status: int, number: str) -> Unknown:
    """Nothing of the answer itself is logged: a stranger wrote it."""
    log.error(
        "channel_nonsense: %s answered %s about attempt %s", BANK_DIRECT_DEBIT.id, status, number
    )
    return Unknown(UnknownCause.NONSENSE)
