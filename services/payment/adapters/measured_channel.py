"""Any channel, with the time and the kind of each answer measured."""

from collections.abc import Awaitable
from time import perf_counter

from services.payment.adapters.metrics import CHANNEL_CALL_SECONDS
from services.payment.application.ports import Channel, DueAttempt
from services.payment.domain.channel import Capabilities
from services.payment.domain.channel_answer import ChannelAnswer, Unknown
from services.payment.domain.payment_attempt import Call


class MeasuredChannel:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @property
    def capabilities(self) -> Capabilities:
        return self._channel.capabilities

    async def start(self, due: DueAttempt) -> ChannelAnswer:
        return await self._measured(Call.START, self._channel.start(due))

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        return await self._measured(Call.QUERY, self._channel.query(due))

    async def _measured(self, call: Call, calling: Awaitable[ChannelAnswer]) -> ChannelAnswer:
        started_at = perf_counter()
        # A call that is cut off at its deadline raises; it counts as what it will be taken for.
        told = "timeout"
        try:
            answer = await calling
            told = answer.cause.value if isinstance(answer, Unknown) else type(answer).__name__
            return answer
        finally:
            CHANNEL_CALL_SECONDS.labels(self.capabilities.id, call.value, told.lower()).observe(
                perf_counter() - started_at
            )
