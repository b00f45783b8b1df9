"""Fail orders whose time ran out before anybody tried to pay them.

Nothing was ever sent for them, so nobody has to be asked; an order with an attempt expires only
when its channel says so.
"""

from services.payment.application.ports import Transactions
from services.payment.application.tell_outcomes import tell_outcomes
from services.payment.domain.failure_reason import FailureReason
from services.payment.domain.payment_order import fail
from shared.kernel.clock import Clock

ROUND = 100


async def expire_orders(transactions: Transactions, *, clock: Clock) -> int:
    """One round; returns how many orders failed as expired."""
    async with transactions() as unit:
        expired = await unit.orders.lock_expired_unattempted(now=clock.now(), limit=ROUND)
        changes = [(order, fail(order, FailureReason.EXPIRED)) for order in expired]
        await unit.orders.save(changes)
        for before, after in changes:
            tell_outcomes(unit, before, after)
    return len(expired)
