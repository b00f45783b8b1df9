"""An attempt at a cashier channel, whose number and times are those of `cashier_wire`."""

from datetime import timedelta
from uuid import UUID

from msgspec.structs import replace

from services.payment.application.ports import DueAttempt
from services.payment.domain.opening import first_attempt
from services.payment.domain.payment_attempt import Call
from services.payment.tests.building import an_order
from services.payment.tests.cashier_wire import NOW, NUMBER
from shared.kernel.ids import new_id


def a_due_attempt(channel: str) -> DueAttempt:
    """1,509.20 yuan for 2026-11, until 13:00 in China."""
    order = an_order(channel=channel, opened_at=NOW, expires_at=NOW + timedelta(minutes=30))
    attempt = first_attempt(order, attempt_id=UUID(NUMBER), now=NOW)
    return DueAttempt(replace(attempt, channel=channel), Call.QUERY, new_id(), new_id(), "2026-11")
