"""The SMS gateway over HTTP. A time-out is no failure: the message may well arrive."""

import asyncio

import httpx2
import structlog

from services.identity.adapters.metrics import SMS_SENDS
from services.identity.application.ports import CodeMessage, SmsOutcome
from services.identity.domain.one_time_code import CODE_LIFETIME, Purpose

PATH = "/sms/v1/messages"
DEADLINE_SECONDS = 3.0
CONNECT_SECONDS = 1.0
CONNECTIONS_MAX = 16
LIFETIME_MINUTES = int(CODE_LIFETIME.total_seconds() // 60)

# The sentences of the templates that are registered with the carrier, under these names. A code
# template has one variable; Chinese texts of up to 70 characters are one message.
TEMPLATES = {(Purpose.LOGIN, "zh"): "login_code_zh", (Purpose.LOGIN, "en"): "login_code_en"}
TEXTS = {
    "login_code_zh": (
        "【松鹤】验证码 {code}，用于登录，{minutes} 分钟内有效。"
        "请勿告诉他人，工作人员不会向您索要。"
    ),
    "login_code_en": (
        "[Songhe] {code} is your code to log in, valid for {minutes} minutes. "
        "Never tell it to anyone; we will never ask for it."
    ),
}
# Refused before anything was sent: the gateway cannot have got the message.
NOT_REACHED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)

log = structlog.get_logger(__name__)


class HttpSmsGateway:
    """The port `SmsGateway`; raises nothing: every end of a call is an outcome."""

    def __init__(self, base_url: str) -> None:
        self._client = httpx2.AsyncClient(
            base_url=base_url,
            timeout=httpx2.Timeout(DEADLINE_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=CONNECTIONS_MAX),
            # A proxy from the environment would see codes and phone numbers.
            trust_env=False,
        )

    async def send(self, message: CodeMessage) -> SmsOutcome:
        outcome = await self._outcome(message)
        SMS_SENDS.labels(outcome.value).inc()
        if outcome is not SmsOutcome.ACCEPTED:
            log.warning("sms_not_confirmed", outcome=outcome.value)
        return outcome

    async def close(self) -> None:
        await self._client.aclose()

    async def _outcome(self, message: CodeMessage) -> SmsOutcome:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                response = await self._client.post(PATH, json=_body(message))
        except NOT_REACHED:
            return SmsOutcome.NOT_SENT
        except (httpx2.HTTPError, TimeoutError, OSError):
            return SmsOutcome.UNKNOWN
        if response.is_success:
            return SmsOutcome.ACCEPTED
        return SmsOutcome.NOT_SENT if response.is_client_error else SmsOutcome.FAILED


def _body(message: CodeMessage) -> dict[str, object]:
    template = TEMPLATES[message.purpose, message.language]
    return {
        "reference": message.reference.hex,
        "phone": message.phone.e164,
        "template": template,
        "variables": {"code": message.code},
        "text": TEXTS[template].format(code=message.code, minutes=LIFETIME_MINUTES),
    }
