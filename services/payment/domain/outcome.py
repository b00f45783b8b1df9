"""What an answer about one attempt means for it and its order. Pure: no clock, no channel.

A time-out never fails, "not there" closes only late and twice, a wrong amount never settles,
and success for an order that is not open is unexpected money, not an error.
"""

from datetime import datetime

import msgspec
from msgspec.structs import replace

from services.payment.domain import payment_order
from services.payment.domain.channel import Capabilities, ChannelKind
from services.payment.domain.channel_answer import (
    Answer,
    AwaitingPayer,
    Closed,
    Declined,
    NeverSent,
    NotThere,
    Succeeded,
    Unknown,
)
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.operator_item import ItemKind, OperatorItem
from services.payment.domain.payment_attempt import (
    ATTEMPT_TRANSITIONS,
    AttemptStatus,
    Call,
    PaymentAttempt,
)
from services.payment.domain.payment_order import PaymentOrder, Settlement
from services.payment.domain.query_schedule import (
    ASKING_STEPS,
    NOT_THERE_INTERVAL,
    NOT_THERE_MARGIN,
    PAYER_STEPS,
    UNKNOWN_LIMIT,
    next_cashier_query_at,
    next_decision_ask_at,
    next_late_ask_at,
    next_query_at,
    promised_until,
    send_again_at,
)
from services.payment.domain.refund import Refund, RefundReason, refund_all
from shared.kernel.errors import Contradiction


class Outcome(msgspec.Struct, frozen=True):
    """Order and attempt after an answer, and what else must be recorded with them.

    `owes_news`: a promised time passed without an outcome, so the person must hear of the next.
    """

    order: PaymentOrder
    attempt: PaymentAttempt
    refund: Refund | None = None
    items: tuple[OperatorItem, ...] = ()
    owes_news: bool = False


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer was obtained: `asked_at` is before the call, `now` after it.

    `channel` is None where nobody runs the attempt's channel any more.
    """

    call: Call
    channel: Capabilities | None
    asked_at: datetime
    now: datetime

    @property
    def is_cashier(self) -> bool:
        """Only the payer can start another try, so the order waits for that until it expires."""
        return self.channel is not None and self.channel.kind is ChannelKind.CASHIER


def decide(order: PaymentOrder, attempt: PaymentAttempt, answer: Answer, asking: Asking) -> Outcome:
    """The one place where an answer becomes state.

    Raises Contradiction where the answer excludes what the channel said finally before.
    """
    if not attempt.is_open:
        outcome = _after_the_end(order, attempt, answer, asking)
    else:
        outcome = _while_open(order, attempt, answer, asking)
    return _show_changes(order, attempt, outcome)


def _while_open(
    order: PaymentOrder, attempt: PaymentAttempt, answer: Answer, asking: Asking
) -> Outcome:
    match answer:
        case Succeeded():
            return _succeeded(order, attempt, answer, asking)
        case Declined():
            return _declined(order, attempt, answer.reason, asking)
        case AwaitingPayer():
            return Outcome(order, _awaiting_payer(attempt, asking))
        case Unknown():
            return _unknown(order, attempt, asking)
        case NotThere():
            return _not_there(order, attempt, asking)
        case Closed():
            return _closed(order, attempt, asking)
        case NeverSent():
            return _never_sent(order, attempt, asking)


def _after_the_end(
    order: PaymentOrder, attempt: PaymentAttempt, answer: Answer, asking: Asking
) -> Outcome:
    """Late news about a finished attempt: money is always recorded, the rest confirms or not."""
    if attempt.status is not AttemptStatus.SUCCEEDED:
        if isinstance(answer, Succeeded):
            return _succeeded(order, attempt, answer, asking)
        return Outcome(order, _asked_late(attempt, answer, asking))
    if isinstance(answer, Unknown) or _is_known(answer, attempt):
        return Outcome(order, attempt)
    raise Contradiction(
        f"attempt {attempt.id} is {attempt.status}, and the channel now says {answer}"
    )


def _is_known(answer: Answer, attempt: PaymentAttempt) -> bool:
    """Whether it is the success that is recorded."""
    return isinstance(answer, Succeeded) and (answer.trade_no, answer.amount) == (
        attempt.trade_no,
        attempt.received,
    )


def _asked_late(attempt: PaymentAttempt, answer: Answer, asking: Asking) -> PaymentAttempt:
    """No money came after the end, as far as the channel says: asked again, until a day is over."""
    if asking.call is not Call.QUERY or attempt.due_at is None or attempt.ended_at is None:
        return attempt
    due_at = next_late_ask_at(
        ended_at=attempt.ended_at,
        now=asking.now,
        is_answered=not isinstance(answer, Unknown),
    )
    return replace(attempt, due_at=due_at)


def _succeeded(
    order: PaymentOrder, attempt: PaymentAttempt, answer: Succeeded, asking: Asking
) -> Outcome:
    if answer.amount != attempt.amount:
        if asking.call is not Call.QUERY and attempt.is_open:
            return _ask_at_once(order, attempt, asking)
        return _suspense(order, attempt, answer, asking.now)
    received = _received(attempt, answer)
    if order.is_open:
        settlement = replace(
            settlement_by(received),
            asked_at=_asked_at(attempt, answer, asking),
            confirmed_at=asking.now,
        )
        return Outcome(payment_order.settle(order, settlement), received)
    return Outcome(
        order,
        replace(
            received,
            unexpected_sequence=1,
            due_at=next_decision_ask_at(unexpected_sequence=1, now=asking.now),
        ),
    )


def _asked_at(attempt: PaymentAttempt, answer: Succeeded, asking: Asking) -> datetime | None:
    """Since when only the channel could act; a payer's time at the cashier is not the channel's."""
    since = attempt.first_sent_at if attempt.is_direct else answer.at
    return None if since is None else min(since, asking.now)


def settlement_by(attempt: PaymentAttempt) -> Settlement:
    """The settlement that a succeeded attempt makes; raises Contradiction for any other."""
    if attempt.trade_no is None or attempt.succeeded_at is None:
        raise Contradiction(f"attempt {attempt.id} is {attempt.status}: it received no money")
    return Settlement(
        attempt_id=attempt.id,
        channel=attempt.channel,
        channel_trade_no=attempt.trade_no,
        settled_at=attempt.succeeded_at,
    )


def _suspense(
    order: PaymentOrder, attempt: PaymentAttempt, answer: Succeeded, now: datetime
) -> Outcome:
    """Money of a wrong amount, confirmed by a query: kept apart and refunded in full."""
    received = replace(_received(attempt, answer), reason=FailureReason.WRONG_AMOUNT)
    detail = f"order {order.id}: {answer.amount.fen} fen instead of {attempt.amount.fen}"
    refund = refund_all(received, RefundReason.WRONG_AMOUNT, now)
    if order.is_open:
        order = payment_order.fail(order, FailureReason.WRONG_AMOUNT)
    wrong = OperatorItem(ItemKind.WRONG_AMOUNT, str(attempt.id), detail)
    return Outcome(order, received, refund, (wrong, refund_due(refund)))


def refund_due(refund: Refund) -> OperatorItem:
    detail = f"{refund.amount.fen} fen of attempt {refund.attempt_id}: {refund.reason}"
    return OperatorItem(ItemKind.REFUND_DUE, str(refund.id), detail)


def _declined(
    order: PaymentOrder, attempt: PaymentAttempt, reason: FailureReason, asking: Asking
) -> Outcome:
    declined = _ended(attempt, AttemptStatus.DECLINED, reason, asking.now)
    if order.is_open and not asking.is_cashier:
        order = payment_order.fail(order, reason)
    return Outcome(order, declined)


def _awaiting_payer(attempt: PaymentAttempt, asking: Asking) -> PaymentAttempt:
    moved = _moved(attempt, AttemptStatus.AWAITING_PAYER)
    due_at = _query_at(moved, asking)
    if asking.now < attempt.expires_at:
        due_at = min(due_at, attempt.expires_at)
    return replace(moved, not_there_count=0, last_not_there_at=None, due_at=due_at)


def _unknown(order: PaymentOrder, attempt: PaymentAttempt, asking: Asking) -> Outcome:
    """No answer about money. A cashier that does not start shows nobody a page to pay on."""
    if asking.is_cashier and asking.call is Call.START:
        return Outcome(order, replace(attempt, due_at=_query_at(attempt, asking)))
    since = attempt.unknown_since or asking.now
    promise = promised_until(unknown_since=since, now=asking.now)
    unknown = replace(
        _moved(attempt, AttemptStatus.UNKNOWN), unknown_since=since, promised_until=promise
    )
    unknown = replace(unknown, due_at=min(_query_at(unknown, asking), promise))
    return Outcome(
        order,
        unknown,
        items=_item_when_overdue(unknown, asking.now),
        owes_news=order.is_open and _is_promise_over(attempt, asking.now),
    )


def _is_promise_over(attempt: PaymentAttempt, now: datetime) -> bool:
    return attempt.promised_until is not None and now >= attempt.promised_until


def _ask_at_once(order: PaymentOrder, attempt: PaymentAttempt, asking: Asking) -> Outcome:
    """A wrong amount that no query told: unknown until a query confirms it."""
    outcome = _unknown(order, attempt, replace(asking, call=Call.QUERY))
    return replace(outcome, attempt=replace(outcome.attempt, due_at=asking.now))


def _not_there(order: PaymentOrder, attempt: PaymentAttempt, asking: Asking) -> Outcome:
    if asking.asked_at >= attempt.expires_at + NOT_THERE_MARGIN:
        return _not_there_after_expiry(order, attempt, asking)
    if _may_send_again(order, attempt, asking):
        return _send_again(order, attempt, asking)
    if asking.is_cashier:
        return Outcome(order, _not_opened_yet(attempt, asking))
    due_at = _wait_for_margin(attempt, asking)
    if attempt.status is AttemptStatus.UNKNOWN:
        outcome = _unknown(order, attempt, asking)
        due_at = min(due_at, outcome.attempt.promised_until or due_at)
        return replace(outcome, attempt=replace(outcome.attempt, due_at=due_at))
    waiting = replace(attempt, due_at=due_at)
    return Outcome(order, waiting, items=_item_when_overdue(attempt, asking.now))


def _not_opened_yet(attempt: PaymentAttempt, asking: Asking) -> PaymentAttempt:
    """A cashier may know an order only when the payer opens it: until then it waits for them."""
    if attempt.status is AttemptStatus.UNKNOWN:
        attempt = _moved(attempt, AttemptStatus.AWAITING_PAYER)
    due_at = _wait_for_margin(attempt, asking)
    return replace(attempt, last_not_there_at=asking.asked_at, due_at=due_at)


def _wait_for_margin(attempt: PaymentAttempt, asking: Asking) -> datetime:
    wait_until = min(_query_at(attempt, asking), attempt.expires_at + NOT_THERE_MARGIN)
    return max(wait_until, asking.now)


def _send_again(order: PaymentOrder, attempt: PaymentAttempt, asking: Asking) -> Outcome:
    """The same number once more; where that is behind a promise, the channel is asked then first.

    The hours of debits may put a send off to the next day.
    """
    again_at = _send_again_at(attempt, asking)
    if attempt.status is not AttemptStatus.UNKNOWN:
        return Outcome(order, replace(attempt, next_call=Call.START, due_at=again_at))
    outcome = _unknown(order, attempt, asking)
    promise = outcome.attempt.promised_until
    if promise is not None and promise < again_at:
        return replace(outcome, attempt=replace(outcome.attempt, due_at=promise))
    sending = replace(outcome.attempt, next_call=Call.START, due_at=again_at)
    return replace(outcome, attempt=sending)


def _send_again_at(attempt: PaymentAttempt, asking: Asking) -> datetime:
    again_at = send_again_at(send_count=attempt.send_count, now=asking.now)
    window = asking.channel.debit_window if asking.channel else None
    return window.allowed_at(again_at) if window else again_at


def _may_send_again(order: PaymentOrder, attempt: PaymentAttempt, asking: Asking) -> bool:
    if asking.call is not Call.QUERY or asking.is_cashier or not order.is_open:
        return False
    if attempt.first_sent_at is None or asking.channel is None:
        return False
    window_end = attempt.first_sent_at + asking.channel.idempotency_window
    return asking.now < min(window_end, attempt.expires_at)


def _not_there_after_expiry(
    order: PaymentOrder, attempt: PaymentAttempt, asking: Asking
) -> Outcome:
    first_at = attempt.last_not_there_at
    if first_at is None or first_at < attempt.expires_at + NOT_THERE_MARGIN:
        seen_once = replace(
            attempt,
            not_there_count=1,
            last_not_there_at=asking.asked_at,
            due_at=asking.asked_at + NOT_THERE_INTERVAL,
        )
        return Outcome(order, seen_once)
    if asking.asked_at - first_at < NOT_THERE_INTERVAL:
        return Outcome(order, replace(attempt, due_at=first_at + NOT_THERE_INTERVAL))
    seen_twice = replace(
        attempt, not_there_count=attempt.not_there_count + 1, last_not_there_at=asking.asked_at
    )
    return _closed(order, seen_twice, asking)


def _never_sent(order: PaymentOrder, attempt: PaymentAttempt, asking: Asking) -> Outcome:
    if attempt.send_count:
        raise Contradiction(f"attempt {attempt.id} was sent {attempt.send_count} times")
    return _closed(order, attempt, asking)


def _closed(order: PaymentOrder, attempt: PaymentAttempt, asking: Asking) -> Outcome:
    """A cashier's order outlives its attempts: it expires when none of them is open any more."""
    is_late = not asking.is_cashier or asking.now >= attempt.expires_at
    reason = FailureReason.EXPIRED if is_late else None
    closed = _ended(attempt, AttemptStatus.CLOSED, reason, asking.now)
    if order.is_open and not asking.is_cashier:
        order = payment_order.fail(order, FailureReason.EXPIRED)
    return Outcome(order, closed)


def _ended(
    attempt: PaymentAttempt, status: AttemptStatus, reason: FailureReason | None, now: datetime
) -> PaymentAttempt:
    """Over without money; where some may still come, it is asked about for a day."""
    ended = replace(_moved(attempt, status), reason=reason, ended_at=now, due_at=None)
    if not ended.may_be_paid_late:
        return ended
    return replace(ended, due_at=next_late_ask_at(ended_at=now, now=now, is_answered=True))


def _received(attempt: PaymentAttempt, answer: Succeeded) -> PaymentAttempt:
    return replace(
        _moved(attempt, AttemptStatus.SUCCEEDED),
        trade_no=answer.trade_no,
        received=answer.amount,
        succeeded_at=answer.at,
        reason=None,
        due_at=None,
    )


def _moved(attempt: PaymentAttempt, target: AttemptStatus) -> PaymentAttempt:
    """The attempt in its new status; staying in one is no move. What was unknown is forgotten."""
    if attempt.status is target:
        return attempt
    return replace(
        attempt,
        status=ATTEMPT_TRANSITIONS.check(attempt.status, target, attempt.id),
        unknown_since=None,
        promised_until=None,
    )


def _query_at(attempt: PaymentAttempt, asking: Asking) -> datetime:
    sent_at, now = attempt.first_sent_at or asking.now, asking.now
    if not asking.is_cashier:
        return next_query_at(query_count=attempt.query_count, first_sent_at=sent_at, now=now)
    # The last time that somebody began to wait for the answer: without one it is the payer's turn.
    waiting_since = [attempt.unknown_since, attempt.asked_at, attempt.close_wanted_at]
    if now >= attempt.expires_at:
        waiting_since.append(attempt.expires_at)
    since = max((at for at in waiting_since if at is not None), default=None)
    if since is None:
        return next_cashier_query_at(steps=PAYER_STEPS, since=sent_at, now=now)
    return next_cashier_query_at(steps=ASKING_STEPS, since=since, now=now)


def _item_when_overdue(attempt: PaymentAttempt, now: datetime) -> tuple[OperatorItem, ...]:
    sent_at = attempt.first_sent_at
    if sent_at is None or now - sent_at < UNKNOWN_LIMIT:
        return ()
    detail = f"order {attempt.order_id}: no outcome from {attempt.channel} since {sent_at}"
    return (OperatorItem(ItemKind.OUTCOME_UNKNOWN, str(attempt.id), detail),)


def _show_changes(before: PaymentOrder, attempt: PaymentAttempt, outcome: Outcome) -> Outcome:
    """Move versions: the attempt's with any change, the order's with what people can see."""
    after = outcome.attempt
    if after == attempt:
        return outcome
    order = outcome.order
    if _as_seen(after) != _as_seen(attempt) and order.version == before.version:
        order = payment_order.shown_anew(order)
    return replace(outcome, order=order, attempt=replace(after, version=attempt.version + 1))


def _as_seen(attempt: PaymentAttempt) -> tuple[object, ...]:
    """What people can see of it: one given up that is not there is in nobody's way."""
    is_out_of_the_way = attempt.close_wanted_at is not None and attempt.is_absent
    return attempt.status, attempt.promised_until, is_out_of_the_way
