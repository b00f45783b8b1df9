"""Record what calls to channels came to: an answer, or why there is none."""

from collections.abc import Sequence

from services.payment.application.ports import Channels, DueAttempt, Transactions
from services.payment.application.record_outcomes import Answered, record_outcomes
from services.payment.domain.channel_answer import (
    Answer,
    AwaitingPayer,
    NeverSent,
    Unknown,
    UnknownCause,
)
from services.payment.domain.next_action import OrderedOtherwise, Started
from services.payment.domain.payment_attempt import Call
from shared.kernel.clock import Clock
from shared.kernel.leased_calls import Ended, Silence

# What a call to a channel may come to: a cashier that was started gives a page as well.
Given = Answer | Started | OrderedOtherwise

CAUSES = {
    Silence.TIMEOUT: UnknownCause.TIMEOUT,
    Silence.RAISED: UnknownCause.NONSENSE,
    Silence.LEASE_OVER: UnknownCause.LEASE_OVER,
}


async def record_calls(
    transactions: Transactions,
    ended: Sequence[Ended[DueAttempt, Given]],
    *,
    channels: Channels,
    clock: Clock,
) -> None:
    """All in one transaction."""
    answers = [_answered(each) for each in ended]
    async with transactions() as unit:
        await record_outcomes(unit, answers, channels=channels, now=clock.now())


def _answered(ended: Ended[DueAttempt, Given]) -> Answered:
    due = ended.due
    return Answered(
        order_id=due.attempt.order_id,
        attempt_id=due.attempt.id,
        lease=due.lease,
        call=due.call or Call.START,
        answer=_answer(ended),
        asked_at=ended.asked_at,
    )


def _answer(ended: Ended[DueAttempt, Given]) -> Answer:
    if ended.due.call is None:
        return NeverSent()
    if isinstance(ended.answer, Silence):
        return Unknown(CAUSES[ended.answer])
    # Whatever the page: the channel has an unpaid order by this number.
    if isinstance(ended.answer, Started | OrderedOtherwise):
        return AwaitingPayer()
    return ended.answer
