"""Fail orders whose time ran out and that nobody can pay any more.

Either nothing was ever sent for them, or every attempt ended by its channel's own word: an order
with an open attempt waits until its channel has closed that.
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
        expired = await unit.orders.lock_expired(now=clock.now(), limit=ROUND)
        changes = [(order, fail(order, FailureReason.EXPIRED)) for order in expired]
        await unit.orders.save(changes)
        for before, after in changes:
            tell_outcomes(unit, before, after)
    return len(expired)
