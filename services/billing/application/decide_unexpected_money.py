"""Decide about unexpected money: it pays what is still owed, or it goes back; once for ever."""

from collections.abc import Sequence

from msgspec.structs import replace

from services.billing.application.load_facts import load_facts
from services.billing.application.ports import Unit
from services.billing.domain.contribution import LATE_MONEY, Contribution, pay
from services.billing.domain.money_decision import (
    DECISION_VERSION,
    Decision,
    MoneyDecision,
)
from services.billing.domain.outcome import check_known, decide
from shared.kernel.events import (
    Message,
    MoneyAccepted,
    MoneyRejected,
    UnexpectedMoneyReceived,
)
from shared.kernel.ids import event_id
from shared.kernel.money import Money

ANSWERS: dict[Decision, type[MoneyAccepted]] = {
    Decision.ACCEPTED: MoneyAccepted,
    Decision.REJECTED: MoneyRejected,
}


async def decide_unexpected_money(
    unit: Unit, messages: Sequence[Message[UnexpectedMoneyReceived]]
) -> None:
    """React to UnexpectedMoneyReceived: decide once, and repeat the decision when asked again.

    Nothing is decided while the outcome of the very order is missing: payment repeats its
    question. Raises Contradiction for an order that billing never asked for, and for money
    that settled its order.
    """
    rows = await load_facts(unit, messages)
    attempt_ids = [message.body.attempt_id for message in messages]
    decisions = await unit.money_decisions.find(attempt_ids)
    refunded = await unit.refunds.totals(attempt_ids)
    made: list[MoneyDecision] = []
    asked_again: list[tuple[MoneyDecision, MoneyDecision]] = []
    for message in messages:
        fact = message.body
        contribution, request = check_known(fact, *rows.of(fact))
        earlier = decisions.get(fact.attempt_id)
        if earlier is not None:
            if message.envelope.sequence > earlier.asked_sequence:
                asked = replace(earlier, asked_sequence=message.envelope.sequence)
                asked_again.append((earlier, asked))
            continue
        back = refunded.get(fact.attempt_id, Money(0))
        decided = decide(contribution, request, fact, refunded=back)
        if decided is not None:
            made.append(_decision(message, *decided))
            rows.put_contribution(_after(contribution, message, decided[0]))
    await rows.save(unit)
    await unit.money_decisions.insert(made)
    for decision in made:
        _tell(unit, decision)
    await _tell_again(unit, asked_again)


def _decision(
    message: Message[UnexpectedMoneyReceived], decision: Decision, reason: str
) -> MoneyDecision:
    fact = message.body
    return MoneyDecision(
        attempt_id=fact.attempt_id,
        payment_order_id=fact.payment_order_id,
        contribution_id=fact.contribution_id,
        insured_person_id=fact.insured_person_id,
        amount=Money(fact.amount_fen),
        decision=decision,
        reason=reason,
        asked_sequence=message.envelope.sequence,
        event_id=event_id(ANSWERS[decision].type, fact.attempt_id, DECISION_VERSION),
        caused_by_event_id=message.envelope.event_id,
        correlation_id=message.envelope.correlation_id,
        decided_at=message.envelope.time,
    )


def _after(
    contribution: Contribution, message: Message[UnexpectedMoneyReceived], decision: Decision
) -> Contribution:
    if decision is Decision.REJECTED:
        return contribution
    return pay(
        contribution,
        attempt_id=message.body.attempt_id,
        paid_at=message.envelope.time,
        reason=LATE_MONEY,
    )


def _tell(unit: Unit, decision: MoneyDecision) -> None:
    answer = ANSWERS[decision.decision]
    unit.emit(
        answer(
            insured_person_id=decision.insured_person_id,
            payment_order_id=decision.payment_order_id,
            contribution_id=decision.contribution_id,
            attempt_id=decision.attempt_id,
        ),
        subject=decision.attempt_id,
        sequence=DECISION_VERSION,
        correlation_id=decision.correlation_id,
        causation_id=decision.caused_by_event_id,
    )


async def _tell_again(unit: Unit, changes: Sequence[tuple[MoneyDecision, MoneyDecision]]) -> None:
    """The original event where the outbox still has it, else the same once more."""
    await unit.money_decisions.save_asked(changes)
    decisions = [decision for _, decision in changes]
    gone = await unit.repeat([decision.event_id for decision in decisions])
    for decision in decisions:
        if decision.event_id in gone:
            _tell(unit, decision)
