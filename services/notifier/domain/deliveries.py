"""An SMS under way: when it may go, what an answer of the provider means, when to ask again."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.notifier.domain.announcements import OVERTAKEN_BY
from services.notifier.domain.notifications import (
    SMS_STATES,
    Bill,
    Facts,
    OrderOutcome,
    Role,
    Status,
)

# Older news confuses more than it helps, and a replay must never wake anybody.
SEND_WITHIN = timedelta(hours=24)
# The month of the bill may travel on the other topic and arrive a moment later.
WAIT_FOR_BILL = timedelta(seconds=10)


class Answer(StrEnum):
    """What came back from the provider; NO_ANSWER is a time-out, a 5xx or a broken line."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    UNDELIVERABLE = "undeliverable"
    NOT_FOUND = "not_found"
    NO_ANSWER = "no_answer"


# What the provider says finally, at once or when it is asked.
FINAL = {Answer.DELIVERED: Status.DELIVERED, Answer.UNDELIVERABLE: Status.UNDELIVERABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Pauses and bounds of the SMS loop, in seconds unless the name says otherwise."""

    first_ask_seconds: float = 0.5
    ask_cap_seconds: float = 300.0
    ask_for: timedelta = timedelta(hours=24)
    # A slow first request may still be on its way in: "not there" counts only after this.
    resend_seconds: float = 10.0
    resend_cap_seconds: float = 900.0
    send_count_max: int = 8
    first_retry_seconds: float = 1.0
    retry_cap_seconds: float = 300.0

    def ask_pause(self, try_count: int) -> float:
        return _growing(self.first_ask_seconds, try_count, self.ask_cap_seconds)

    def resend_pause(self, send_count: int) -> float:
        return _growing(self.resend_seconds, send_count - 1, self.resend_cap_seconds)

    def retry_pause(self, try_count: int) -> float:
        return _growing(self.first_retry_seconds, try_count, self.retry_cap_seconds)


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One SMS row as the loop claimed it. `id` is our reference at the provider."""

    id: UUID
    person_id: UUID
    role: Role
    template: str
    payment_order_id: UUID | None
    bill: Bill | None
    facts: Facts
    occurred_at: datetime
    outcomes: frozenset[OrderOutcome]
    status: Status
    status_at: datetime
    sent_at: datetime | None
    try_count: int
    send_count: int
    version: int

    @property
    def is_stale(self) -> bool:
        """An outcome of the same order made its words untrue."""
        return any(self.template in OVERTAKEN_BY[outcome] for outcome in self.outcomes)

    def is_too_old(self, now: datetime) -> bool:
        """Older than a day, or the time is past that it promises news by: newer ones follow."""
        promised = self.facts.next_update_by
        is_over = promised is not None and now >= promised
        return is_over or now - self.occurred_at > SEND_WITHIN


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a delivery now, and when the loop looks again (None: it has ended)."""

    delivery: Delivery
    due_seconds: float | None
    send: bool = False
    item: str | None = None

    @property
    def status(self) -> Status:
        return self.delivery.status


def withdrawal(delivery: Delivery, now: datetime) -> Status | None:
    """Why a queued SMS must not go out any more; None where it may.

    Age is looked at first, so that the end does not depend on what else arrived before.
    """
    if delivery.is_too_old(now):
        return Status.SUPPRESSED
    if delivery.is_stale:
        return Status.OVERTAKEN
    return None


def waits_for_bill(delivery: Delivery, now: datetime) -> bool:
    """Whether the month it is about may still arrive; afterwards it goes without."""
    return delivery.bill is None and now - delivery.occurred_at < WAIT_FOR_BILL


def submit(delivery: Delivery, now: datetime, *, lease_seconds: float) -> Decision:
    """Commit this before the call: whoever finds it later asks by our reference first."""
    moved = _move(delivery, Status.SUBMITTED, now) if _is_queued(delivery) else delivery
    sent = replace(moved, sent_at=now, send_count=delivery.send_count + 1, try_count=0)
    return Decision(delivery=sent, due_seconds=lease_seconds, send=True)


def put_off(delivery: Delivery, schedule: Schedule) -> Decision:
    """We could not get what a send needs; the row stays what it is and is due again later."""
    later = replace(delivery, try_count=delivery.try_count + 1)
    return Decision(delivery=later, due_seconds=schedule.retry_pause(delivery.try_count))


def end(delivery: Delivery, status: Status, now: datetime, *, item: str | None = None) -> Decision:
    """The last move. Raises Contradiction where the table does not have it."""
    return Decision(delivery=_move(delivery, status, now), due_seconds=None, item=item)


def after_send(delivery: Delivery, answer: Answer, now: datetime, schedule: Schedule) -> Decision:
    """A final answer ends it; after any other the truth is asked for by reference."""
    if answer in FINAL:
        return end(delivery, FINAL[answer], now)
    return Decision(delivery=delivery, due_seconds=schedule.ask_pause(0))


def after_ask(delivery: Delivery, answer: Answer, now: datetime, schedule: Schedule) -> Decision:
    """What the provider's answer to a query means for a submitted SMS."""
    match answer:
        case Answer.DELIVERED:
            return end(delivery, Status.DELIVERED, now)
        case Answer.UNDELIVERABLE:
            return end(delivery, Status.UNDELIVERABLE, now)
        case Answer.NOT_FOUND:
            return _not_there(delivery, now, schedule)
        case Answer.ACCEPTED | Answer.NO_ANSWER:
            return _ask_again(delivery, now, schedule)


def _not_there(delivery: Delivery, now: datetime, schedule: Schedule) -> Decision:
    if delivery.is_stale:
        # Nothing for a person to do: the outcome has its own message.
        return end(delivery, Status.UNKNOWN, now)
    if delivery.is_too_old(now) or delivery.send_count >= schedule.send_count_max:
        return end(
            delivery,
            Status.UNKNOWN,
            now,
            item=f"the provider does not know it after {delivery.send_count} sends",
        )
    sent_at = delivery.sent_at or delivery.status_at
    pause = schedule.resend_pause(delivery.send_count)
    waited = (now - sent_at).total_seconds()
    if waited < pause:
        later = replace(delivery, try_count=delivery.try_count + 1)
        return Decision(delivery=later, due_seconds=pause - waited)
    return Decision(delivery=delivery, due_seconds=0.0, send=True)


def _ask_again(delivery: Delivery, now: datetime, schedule: Schedule) -> Decision:
    if now - delivery.status_at > schedule.ask_for:
        item = "the provider gave no final answer in time"
        return end(delivery, Status.UNKNOWN, now, item=item)
    later = replace(delivery, try_count=delivery.try_count + 1)
    return Decision(delivery=later, due_seconds=schedule.ask_pause(later.try_count))


def _move(delivery: Delivery, status: Status, now: datetime) -> Delivery:
    target = SMS_STATES.check(delivery.status, status, delivery.id)
    return replace(delivery, status=target, status_at=now)


def _is_queued(delivery: Delivery) -> bool:
    return delivery.status is Status.QUEUED


def _growing(first: float, count: int, cap: float) -> float:
    # Beyond 2^16 times the first pause every sensible cap is reached.
    return min(cap, first * 2.0 ** min(max(count, 0), 16))
