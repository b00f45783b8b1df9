"""Hear what channels tell by themselves: each notification once, with its effect or not at all."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.payment.application.ports import Channels, HeardNotification, Unit
from services.payment.application.record_outcomes import Answered, record_outcomes
from services.payment.domain.payment_attempt import Call, PaymentAttempt


class Hearing(StrEnum):
    """What became of a notification."""

    NEW = "new"
    AGAIN = "again"
    NOT_OURS = "not_ours"


async def hear_notifications(
    unit: Unit, heard: Sequence[HeardNotification], *, channels: Channels, now: datetime
) -> list[Hearing]:
    """Store the notifications and what they change; tells for each what became of it.

    One that was heard before changes nothing, from whichever process it comes; neither does one
    about an order number that we never used at this channel. Amounts are checked where all
    answers are decided.
    """
    attempts = await unit.cashier_attempts.find([one.attempt_id for one in heard])
    ours = [one for one in heard if _is_ours(one, attempts)]
    claimed = await unit.notifications.claim(ours) if ours else set()
    news: list[HeardNotification] = []
    hearings = []
    for one in heard:
        key = (one.channel, one.notification.notification_id)
        if not _is_ours(one, attempts):
            hearings.append(Hearing.NOT_OURS)
        elif key in claimed:
            claimed.remove(key)
            news.append(one)
            hearings.append(Hearing.NEW)
        else:
            hearings.append(Hearing.AGAIN)
    for together in _rounds(_answers(news, attempts)):
        await record_outcomes(unit, together, channels=channels, now=now)
    return hearings


def _is_ours(heard: HeardNotification, attempts: Mapping[UUID, PaymentAttempt]) -> bool:
    attempt = attempts.get(heard.attempt_id)
    return attempt is not None and attempt.channel == heard.channel


def _answers(
    news: Sequence[HeardNotification], attempts: Mapping[UUID, PaymentAttempt]
) -> list[Answered]:
    return [
        Answered(
            order_id=attempts[one.attempt_id].order_id,
            attempt_id=one.attempt_id,
            lease=None,
            call=Call.NOTIFICATION,
            answer=one.notification.answer,
            asked_at=one.received_at,
        )
        for one in news
        if one.notification.answer is not None
    ]


def _rounds(answers: Sequence[Answered]) -> list[list[Answered]]:
    """Each attempt once per round: the second word on it is decided after the first."""
    rounds: list[dict[UUID, Answered]] = []
    for answered in answers:
        free = next((seen for seen in rounds if answered.attempt_id not in seen), None)
        if free is None:
            rounds.append(free := {})
        free[answered.attempt_id] = answered
    return [list(seen.values()) for seen in rounds]
