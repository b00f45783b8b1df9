"""Ask a channel about one attempt, and close there what shall be closed: ask first, then close."""

from datetime import datetime
from typing import cast

from services.payment.application.ports import (
    AnyChannel,
    CashierChannel,
    DirectChannel,
    DueAttempt,
)
from services.payment.domain.channel import ChannelKind
from services.payment.domain.channel_answer import AwaitingPayer, ChannelAnswer
from services.payment.domain.payment_attempt import Call


async def ask(channel: AnyChannel, due: DueAttempt, *, now: datetime) -> ChannelAnswer:
    """One answer about a due attempt.

    A cashier is started by the payer's own request only; here it is asked, and told to close an
    attempt whose time is over or that nobody wants any more. Only its word closes the attempt.
    """
    if channel.capabilities.kind is ChannelKind.DIRECT:
        direct = cast(DirectChannel, channel)
        return await (direct.start(due) if due.call is Call.START else direct.query(due))
    answer = await channel.query(due)
    if isinstance(answer, AwaitingPayer) and due.attempt.shall_close(now):
        return await cast(CashierChannel, channel).close(due)
    return answer
