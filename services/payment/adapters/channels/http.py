"""One call to a channel over HTTP: bounded in time and size, behind the channel's circuit.

Nothing that the outside world does raises: what tells nothing is `Unknown`.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from services.payment.adapters.channels.circuit import Circuit
from services.payment.adapters.metrics import CHANNEL_NONSENSE
from services.payment.domain.channel_answer import Unknown, UnknownCause

log = logging.getLogger(__name__)

# The longest true answer has some 4 KiB.
ANSWER_BYTES_MAX = 64 * 1024
# "In progress" and "too many requests" say as little about the money as an error does.
TELLS_NOTHING = frozenset({202, 429})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ChannelHttp:
    """Calls one channel through a client that the composition root owns and closes."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        *,
        channel: str,
        timeout_seconds: float,
        circuit: Circuit | None = None,
    ) -> None:
        self._client = client
        self._channel = channel
        self._timeout_seconds = timeout_seconds
        self._circuit = circuit or Circuit(channel)
        # Told as zero from the start, so that the first one is an increase.
        self._nonsense_count = CHANNEL_NONSENSE.labels(channel)

    @property
    def is_usable(self) -> bool:
        return not self._circuit.is_open

    async def call(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes | None = None
    ) -> Reply | Unknown:
        """The answer, where it is one: 202, 429 and 5xx tell nothing, and so does a huge body."""
        with self._circuit.call() as passage:
            if passage is None:
                return Unknown(UnknownCause.CONNECTION)
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    reply = await self._exchange(method, url, headers, content)
            except (TimeoutError, httpx2.TimeoutException):
                return Unknown(UnknownCause.TIMEOUT)
            except (httpx2.HTTPError, httpx2.StreamError, OSError):
                return Unknown(UnknownCause.CONNECTION)
            if isinstance(reply, Reply) and reply.status >= 500:
                return Unknown(UnknownCause.SERVER_ERROR)
            passage.succeeded = isinstance(reply, Reply)
        if isinstance(reply, Reply) and reply.status in TELLS_NOTHING:
            return Unknown(UnknownCause.SERVER_ERROR)
        return reply

    def nonsense(self, call: str, what: str, *, attempt_number: str) -> Unknown:
        """Counted and logged; nothing of the answer itself is: a stranger wrote it."""
        self._nonsense_count.inc()
        log.error(
            "channel_nonsense: %s answered %s about attempt %s with what is no answer: %s",
            self._channel,
            call,
            attempt_number,
            what,
        )
        return Unknown(UnknownCause.NONSENSE)

    def refused(self, what: str, *, attempt_number: str) -> Unknown:
        """A refusal that says nothing about the money, but perhaps about our own settings."""
        log.error("channel_refused: %s about attempt %s: %s", self._channel, attempt_number, what)
        return Unknown(UnknownCause.SERVER_ERROR)

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Reply | Unknown:
        # Not compressed: a small body could unpack to a huge one before we see its size.
        asked = {**headers, "Accept-Encoding": "identity"}
        async with self._client.stream(method, url, headers=asked, content=content) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                return self.nonsense(method, "compressed", attempt_number="unknown")
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    return self.nonsense(method, "too large", attempt_number="unknown")
        found = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, found, body)


def open_client(*, call_timeout_seconds: float, connections: int) -> httpx2.AsyncClient:
    """A pool for calls to one channel: no proxy from the environment, no redirects."""
    return httpx2.AsyncClient(
        timeout=call_timeout_seconds,
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        trust_env=False,
        follow_redirects=False,
    )
