"""Close an attempt that its payer does not want any more: at the channel first, then here."""

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from services.payment.application.ports import Unit
from services.payment.domain.payment_attempt import AttemptStatus
from services.payment.domain.payment_order import shown_anew
from services.payment.domain.refusal import refused


async def want_attempt_closed(
    unit: Unit, *, order_id: UUID, attempt_id: UUID, now: datetime
) -> bool:
    """Record the wish, so that it survives us; False where the attempt is closed or declined.

    Raises Refused: `attempt_not_found`, `attempt_succeeded`, `attempt_not_closable`.
    """
    order = (await unit.orders.lock([order_id]))[order_id]
    attempt = (await unit.attempts.lock([attempt_id])).get(attempt_id)
    if attempt is None or attempt.order_id != order_id:
        raise refused("attempt_not_found")
    if attempt.status is AttemptStatus.SUCCEEDED:
        raise refused("attempt_succeeded")
    if attempt.is_direct:
        raise refused("attempt_not_closable")
    if not attempt.is_open:
        return False
    if attempt.close_wanted_at is None:
        wanted = replace(attempt, close_wanted_at=now, due_at=now, version=attempt.version + 1)
        await unit.attempts.save([(attempt, wanted)])
        await unit.orders.save([(order, shown_anew(order))])
    return True
