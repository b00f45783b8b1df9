"""The SMS gateway over HTTP: sent under our reference, and asked by it."""

import asyncio
from collections.abc import Mapping
from uuid import UUID

import httpx2
import msgspec

from services.notifier.adapters.metrics import SMS_CALLS
from services.notifier.application.ports import SmsText
from services.notifier.domain.deliveries import Answer
from shared.runtime.ground import crash_points

PATH = "/sms/v1/messages"
DEADLINE_SECONDS = 5.0
CONNECT_SECONDS = 1.0
ANSWER_BYTES_MAX = 16 * 1024


class Reply(msgspec.Struct):
    """The part of an answer that matters; a gateway may add fields."""

    reference: str
    status: str


_decoder = msgspec.json.Decoder(Reply)
_statuses = {
    "accepted": Answer.ACCEPTED,
    "delivered": Answer.DELIVERED,
    "undeliverable": Answer.UNDELIVERABLE,
}


class HttpSmsProvider:
    """The port `SmsProvider`; raises nothing: what cannot be known is NO_ANSWER."""

    def __init__(self, base_url: str, *, connections: int = 8) -> None:
        self._client = httpx2.AsyncClient(
            base_url=base_url,
            timeout=httpx2.Timeout(DEADLINE_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=connections),
            # A proxy from the environment would see phone numbers.
            trust_env=False,
        )

    async def send(self, reference: UUID, phone: str, sms: SmsText) -> Answer:
        body = {
            "reference": reference.hex,
            "phone": phone,
            "template": sms.template,
            "variables": dict(sms.variables),
            "text": sms.text,
        }
        crash_points.reach("sms.after_submit_before_call")
        answer = await self._call("POST", PATH, reference, body)
        crash_points.reach("sms.after_call_before_recording")
        SMS_CALLS.labels("send", answer.value).inc()
        return answer

    async def ask(self, reference: UUID) -> Answer:
        answer = await self._call("GET", f"{PATH}/{reference.hex}", reference, None)
        SMS_CALLS.labels("ask", answer.value).inc()
        return answer

    async def close(self) -> None:
        await self._client.aclose()

    async def _call(
        self, method: str, path: str, reference: UUID, body: Mapping[str, object] | None
    ) -> Answer:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                response = await self._client.request(method, path, json=body)
        except (httpx2.HTTPError, TimeoutError, OSError):
            return Answer.NO_ANSWER
        if method == "GET" and response.status_code == 404:
            return Answer.NOT_FOUND
        if not response.is_success or len(response.content) > ANSWER_BYTES_MAX:
            return Answer.NO_ANSWER
        return _read(response.content, reference)


def _read(content: bytes, reference: UUID) -> Answer:
    """An answer about another message, or nonsense, is no answer."""
    try:
        reply = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Answer.NO_ANSWER
    if reply.reference != reference.hex:
        return Answer.NO_ANSWER
    return _statuses.get(reply.status, Answer.NO_ANSWER)
