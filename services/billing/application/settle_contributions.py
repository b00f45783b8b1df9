"""Settle: the channel's final confirmation pays the contribution."""

from collections.abc import Sequence

from services.billing.application.load_facts import load_facts
from services.billing.application.ports import Unit
from services.billing.domain.money_decision import Decision
from services.billing.domain.outcome import check_known, settle, take_back
from shared.kernel.events import Message, PaymentSettled
from shared.kernel.money import Money


async def settle_contributions(unit: Unit, messages: Sequence[Message[PaymentSettled]]) -> None:
    """React to PaymentSettled; told twice it changes nothing.

    Raises Contradiction for an order that billing never asked for, another amount, and a
    failed order whose money was not accepted.
    """
    rows = await load_facts(unit, messages)
    decisions = await unit.money_decisions.find(message.body.attempt_id for message in messages)
    refunded = await unit.refunds.totals(message.body.attempt_id for message in messages)
    for message in messages:
        fact = message.body
        contribution, request = check_known(fact, *rows.of(fact))
        decision = decisions.get(fact.attempt_id)
        paid, settled = settle(
            contribution,
            request,
            fact,
            sequence=message.envelope.sequence,
            is_accepted=decision is not None and decision.decision is Decision.ACCEPTED,
        )
        rows.put_contribution(paid)
        rows.put_request(settled)
        back = refunded.get(fact.attempt_id, Money(0))
        rows.put_contribution(take_back(paid, attempt_id=fact.attempt_id, refunded=back))
    await rows.save(unit)
