"""Any channel, with the time and the kind of each answer measured."""

from collections.abc import Awaitable
from time import perf_counter
from typing import TypeVar

from services.payment.adapters.channels.pace import ChannelPace
from services.payment.adapters.metrics import CHANNEL_CALL_SECONDS
from services.payment.application.ports import (
    CashierChannel,
    Channel,
    DirectChannel,
    DueAttempt,
    PayerDetails,
)
from services.payment.domain.channel import Capabilities
from services.payment.domain.channel_answer import ChannelAnswer, Unknown
from services.payment.domain.channel_notification import (
    ChannelReply,
    RawNotification,
    RefusalReason,
    VerifiedNotification,
)
from services.payment.domain.next_action import StartAnswer
from services.payment.domain.payment_attempt import Call
from shared.runtime.ground import crash_points

Told = TypeVar("Told", bound=StartAnswer)


class MeasuredDirectChannel:
    def __init__(self, channel: DirectChannel, pace: ChannelPace | None = None) -> None:
        self._channel = channel
        self._pace = pace or ChannelPace()

    @property
    def capabilities(self) -> Capabilities:
        return self._channel.capabilities

    async def start(self, due: DueAttempt) -> ChannelAnswer:
        return await _measured(self._channel, self._pace, Call.START, self._channel.start(due))

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        return await _measured(self._channel, self._pace, Call.QUERY, self._channel.query(due))


class MeasuredCashierChannel:
    """Verifying and acknowledging are no calls: they are passed on as they are."""

    def __init__(self, channel: CashierChannel, pace: ChannelPace | None = None) -> None:
        self._channel = channel
        self._pace = pace or ChannelPace()

    @property
    def capabilities(self) -> Capabilities:
        return self._channel.capabilities

    async def start(self, due: DueAttempt, payer: PayerDetails) -> StartAnswer:
        starting = self._channel.start(due, payer)
        return await _measured(self._channel, self._pace, Call.START, starting)

    async def query(self, due: DueAttempt) -> ChannelAnswer:
        return await _measured(self._channel, self._pace, Call.QUERY, self._channel.query(due))

    async def close(self, due: DueAttempt) -> ChannelAnswer:
        return await _measured(self._channel, self._pace, Call.CLOSE, self._channel.close(due))

    def verify(self, notification: RawNotification) -> VerifiedNotification:
        return self._channel.verify(notification)

    @property
    def acknowledgement(self) -> ChannelReply:
        return self._channel.acknowledgement

    def refusal(self, reason: RefusalReason) -> ChannelReply:
        return self._channel.refusal(reason)


async def _measured(
    channel: Channel, pace: ChannelPace, call: Call, calling: Awaitable[Told]
) -> Told:
    crash_points.reach("attempt.after_lease_before_call")
    started_at = perf_counter()
    # A call that is cut off at its deadline raises; it counts as what it will be taken for.
    told, is_answered = "timeout", False
    try:
        answer = await calling
        crash_points.reach("attempt.after_call_before_recording")
        is_answered = not isinstance(answer, Unknown)
        told = answer.cause.value if isinstance(answer, Unknown) else type(answer).__name__
        return answer
    finally:
        seconds, channel_id = perf_counter() - started_at, channel.capabilities.id
        CHANNEL_CALL_SECONDS.labels(channel_id, call.value, told.lower()).observe(seconds)
        pace.note(channel_id, seconds=seconds, is_answered=is_answered)
