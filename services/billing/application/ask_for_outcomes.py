"""Ask for outcomes: an order about which nothing was heard in time is asked about again."""

from datetime import datetime

from msgspec.structs import replace

from services.billing.application.ports import Unit
from services.billing.application.tell_payment import tell_asked
from services.billing.domain.payment_request import AskingPolicy, PaymentRequest, asked

# One transaction of this many rows takes some milliseconds; the loop comes back at once.
BATCH_MAX = 100
OUTCOME_MISSING = "outcome_missing"
KEY_BLOCKED = "key_blocked"


async def ask_for_outcomes(unit: Unit, *, asking: AskingPolicy, now: datetime) -> int:
    """Ask about the open orders that are due; returns how many rows it took.

    Delays double up to a cap and never end while the order is open; after some asks a person
    is told. Where a dead letter holds back a person's facts, an answer could not be applied:
    nothing is asked and an item is opened.
    """
    due = await unit.payment_requests.lock_due(now, limit=BATCH_MAX)
    blocked = await unit.payment_requests.blocked_people(
        [request.insured_person_id for request in due]
    )
    changes = []
    for request in due:
        after = request
        if request.insured_person_id in blocked:
            await _tell_blocked(unit, request)
        else:
            after = asked(request)
            await _ask(unit, after, asking)
        changes.append((request, replace(after, next_ask_at=now + asking.delay(after.ask_count))))
    await unit.payment_requests.save(changes)
    return len(due)


async def _ask(unit: Unit, request: PaymentRequest, asking: AskingPolicy) -> None:
    tell_asked(unit, request)
    if request.ask_count >= asking.asks_before_item:
        await unit.open_item(
            OUTCOME_MISSING,
            reference=str(request.payment_order_id),
            detail=f"asked {request.ask_count} times for the outcome of order "
            f"{request.payment_order_id} of contribution {request.contribution_id}",
        )


async def _tell_blocked(unit: Unit, request: PaymentRequest) -> None:
    await unit.open_item(
        KEY_BLOCKED,
        reference=str(request.insured_person_id),
        detail=f"a dead letter holds back the facts of order {request.payment_order_id}; "
        "resolve it, then its outcome is applied or asked for",
    )
