"""Reopen: an order failed, so its contribution is owed again."""

from collections.abc import Sequence

from services.billing.application.load_facts import load_facts
from services.billing.application.ports import Unit
from services.billing.domain.outcome import check_known, fail
from shared.kernel.events import Message, PaymentFailed


async def reopen_contributions(unit: Unit, messages: Sequence[Message[PaymentFailed]]) -> None:
    """React to PaymentFailed; told twice, or after a later outcome, it changes nothing.

    Raises Contradiction for an order that billing never asked for, another amount, and an
    order that is settled.
    """
    rows = await load_facts(unit, messages)
    for message in messages:
        fact = message.body
        contribution, request = check_known(fact, *rows.of(fact))
        owed, failed = fail(contribution, request, fact, sequence=message.envelope.sequence)
        rows.put_contribution(owed)
        rows.put_request(failed)
    await rows.save(unit)
