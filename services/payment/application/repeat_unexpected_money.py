"""Tell billing again of unexpected money until it has decided about it."""

from msgspec.structs import replace

from services.payment.application.ports import Transactions
from services.payment.application.tell_outcomes import tell_unexpected_money
from services.payment.domain.operator_item import ItemKind, OperatorItem
from services.payment.domain.payment_attempt import PaymentAttempt
from services.payment.domain.query_schedule import (
    DECISION_ASKS_BEFORE_ITEM,
    next_decision_ask_at,
)
from shared.kernel.clock import Clock

ROUND = 100


async def repeat_unexpected_money(transactions: Transactions, *, clock: Clock) -> int:
    """One round over undecided money that is due; each telling has the next sequence."""
    now = clock.now()
    async with transactions() as unit:
        undecided = await unit.attempts.lock_undecided(now=now, limit=ROUND)
        if not undecided:
            return 0
        orders = await unit.orders.read([attempt.order_id for attempt in undecided])
        changes = []
        for attempt in undecided:
            sequence = attempt.unexpected_sequence + 1
            due_at = next_decision_ask_at(unexpected_sequence=sequence, now=now)
            again = replace(
                attempt, unexpected_sequence=sequence, due_at=due_at, version=attempt.version + 1
            )
            changes.append((attempt, again))
            tell_unexpected_money(unit, orders[attempt.order_id], again)
        await unit.attempts.save(changes)
        await unit.open_items([_item(again) for _, again in changes if _is_overdue(again)])
    return len(undecided)


def _is_overdue(attempt: PaymentAttempt) -> bool:
    return attempt.unexpected_sequence > DECISION_ASKS_BEFORE_ITEM


def _item(attempt: PaymentAttempt) -> OperatorItem:
    detail = f"{attempt.amount.fen} fen of order {attempt.order_id}: billing does not decide"
    return OperatorItem(ItemKind.MONEY_UNDECIDED, str(attempt.id), detail)
