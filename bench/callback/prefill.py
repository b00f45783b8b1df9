"""Open orders, and attempts whose payers are in the cashier: payment's rows, in set statements."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.payment.adapters.postgres.cashier_attempts import INSERT as INSERT_CASHIER_ATTEMPTS
from services.payment.adapters.postgres.columns import (
    ATTEMPT,
    NEW_ORDER,
    attempt_row,
    order_row,
)
from services.payment.adapters.postgres.orders import INSERT_ORDERS
from services.payment.domain.payment_attempt import AttemptStatus, Call, PaymentAttempt
from services.payment.domain.payment_order import CHOSEN_BY_PAYER, OrderStatus, PaymentOrder
from shared.kernel.ids import new_id
from shared.kernel.money import CURRENCY, Money
from shared.runtime.database.database import Database
from shared.runtime.database.set_statements import binds

# Channel → the way in which its payers opened the cashier; attempts take turns.
METHODS = {"alipay": "wap", "wechatpay": "h5"}
LIFETIME = timedelta(hours=2)
SET_MAX = 500
LEAST_FEN = 100_000
# Amounts differ, so that one order's money is not mistaken for another's.
AMOUNTS = 100_000


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """What a channel knows of an attempt that its payer is about to pay."""

    attempt_id: UUID
    order_id: UUID
    channel: str
    method: str
    amount_fen: int
    created_at: datetime
    expires_at: datetime


async def open_attempts(database: Database, count: int, *, now: datetime) -> list[OpenAttempt]:
    """As many orders, each with one attempt that awaits its payer."""
    # Opened, attempt begun, awaiting the payer.
    orders = await open_orders(database, count, now=now, version=3)
    opened: list[OpenAttempt] = []
    while len(opened) < count:
        numbers = range(len(opened), min(count, len(opened) + SET_MAX))
        attempts = [_attempt(orders[number], number, now) for number in numbers]
        async with database.transaction() as unit:
            await unit.connection.execute(
                INSERT_CASHIER_ATTEMPTS,
                binds(ATTEMPT, [attempt_row(attempt) for attempt in attempts]),
            )
        opened += [_known_there(attempt) for attempt in attempts]
    return opened


async def open_orders(
    database: Database, count: int, *, now: datetime, version: int = 1
) -> list[PaymentOrder]:
    """As many orders of as many people, who have yet to choose a channel."""
    opened: list[PaymentOrder] = []
    while len(opened) < count:
        numbers = range(len(opened), min(count, len(opened) + SET_MAX))
        orders = [_order(number, now, version) for number in numbers]
        async with database.transaction() as unit:
            await unit.connection.execute(
                INSERT_ORDERS, binds(NEW_ORDER, [order_row(order) for order in orders])
            )
        opened += orders
    return opened


def _order(number: int, now: datetime, version: int) -> PaymentOrder:
    person_id = new_id()
    return PaymentOrder(
        id=new_id(),
        contribution_id=new_id(),
        insured_person_id=person_id,
        payer_id=person_id,
        amount=Money(LEAST_FEN + number % AMOUNTS),
        currency=CURRENCY,
        scheme="flexible",
        region="310000",
        period="2026-11",
        channel=CHOSEN_BY_PAYER,
        status=OrderStatus.REQUESTED,
        version=version,
        expires_at=now + LIFETIME,
        opened_at=now,
        correlation_id=new_id(),
        causation_id=new_id(),
        last_ask_sequence=1,
    )


def _attempt(order: PaymentOrder, number: int, now: datetime) -> PaymentAttempt:
    channel, method = list(METHODS.items())[number % len(METHODS)]
    return PaymentAttempt(
        id=new_id(),
        order_id=order.id,
        channel=channel,
        method=method,
        amount=order.amount,
        status=AttemptStatus.AWAITING_PAYER,
        version=2,
        expires_at=order.expires_at,
        created_at=now,
        next_call=Call.QUERY,
        due_at=order.expires_at,
        send_count=1,
        first_sent_at=now,
    )


def _known_there(attempt: PaymentAttempt) -> OpenAttempt:
    assert attempt.method is not None
    return OpenAttempt(
        attempt_id=attempt.id,
        order_id=attempt.order_id,
        channel=attempt.channel,
        method=attempt.method,
        amount_fen=attempt.amount.fen,
        created_at=attempt.created_at,
        expires_at=attempt.expires_at,
    )
