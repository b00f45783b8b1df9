"""Record refunds: a contribution is owed again once the money that paid it went back."""

from collections.abc import Sequence

from services.billing.application.load_facts import load_facts
from services.billing.application.ports import Unit
from services.billing.domain.money_decision import Refund
from services.billing.domain.outcome import check_known, take_back
from shared.kernel.events import Message, PaymentRefunded
from shared.kernel.money import Money


async def record_refunds(unit: Unit, messages: Sequence[Message[PaymentRefunded]]) -> None:
    """React to PaymentRefunded; a refund of other money than what paid changes no contribution.

    It is remembered in any case: the settlement of the same attempt may arrive after it.
    Raises Contradiction for an order that billing never asked for.
    """
    rows = await load_facts(unit, messages)
    for message in messages:
        check_known(message.body, *rows.of(message.body))
    await unit.refunds.insert([_refund(message) for message in messages])
    refunded = await unit.refunds.totals(message.body.attempt_id for message in messages)
    for message in messages:
        fact = message.body
        contribution = rows.contributions[fact.contribution_id]
        back = refunded.get(fact.attempt_id, Money(0))
        rows.put_contribution(take_back(contribution, attempt_id=fact.attempt_id, refunded=back))
    await rows.save(unit)


def _refund(message: Message[PaymentRefunded]) -> Refund:
    fact = message.body
    return Refund(
        refund_id=fact.refund_id,
        attempt_id=fact.attempt_id,
        payment_order_id=fact.payment_order_id,
        contribution_id=fact.contribution_id,
        amount=Money(fact.amount_fen),
        reason=fact.reason,
        sequence=message.envelope.sequence,
        refunded_at=message.envelope.time,
    )
