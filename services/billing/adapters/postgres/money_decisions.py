"""Decisions about unexpected money, and refunds, in PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from services.billing.domain.money_decision import (
    DECISION_VERSION,
    Decision,
    MoneyDecision,
    Refund,
)
from shared.kernel.money import Money
from shared.runtime.database.set_statements import (
    Columns,
    GuardedUpdate,
    Row,
    binds,
    insert,
    names,
    save_guarded,
)
from shared.runtime.database.statements import text
from shared.runtime.database.unit_of_work import Unit

DECISION: Columns = {
    "attempt_id": "uuid",
    "payment_order_id": "uuid",
    "contribution_id": "uuid",
    "insured_person_id": "uuid",
    "amount_fen": "bigint",
    "decision": "text",
    "reason": "text",
    "version": "bigint",
    "asked_sequence": "bigint",
    "event_id": "uuid",
    "caused_by_event_id": "uuid",
    "correlation_id": "uuid",
    "decided_at": "timestamptz",
}
# The last question that was answered is all that changes, and what guards it.
ASKED: Columns = {"asked_sequence": "bigint"}
REFUND: Columns = {
    "refund_id": "uuid",
    "attempt_id": "uuid",
    "payment_order_id": "uuid",
    "contribution_id": "uuid",
    "amount_fen": "bigint",
    "reason": "text",
    "sequence": "bigint",
    "refunded_at": "timestamptz",
}


def decision_row(decision: MoneyDecision) -> dict[str, Any]:
    return {
        "attempt_id": decision.attempt_id,
        "payment_order_id": decision.payment_order_id,
        "contribution_id": decision.contribution_id,
        "insured_person_id": decision.insured_person_id,
        "amount_fen": decision.amount.fen,
        "decision": decision.decision.value,
        "reason": decision.reason,
        "version": DECISION_VERSION,
        "asked_sequence": decision.asked_sequence,
        "event_id": decision.event_id,
        "caused_by_event_id": decision.caused_by_event_id,
        "correlation_id": decision.correlation_id,
        "decided_at": decision.decided_at,
    }


def to_decision(row: Row) -> MoneyDecision:
    return MoneyDecision(
        attempt_id=row["attempt_id"],
        payment_order_id=row["payment_order_id"],
        contribution_id=row["contribution_id"],
        insured_person_id=row["insured_person_id"],
        amount=Money(row["amount_fen"]),
        decision=Decision(row["decision"]),
        reason=row["reason"],
        asked_sequence=row["asked_sequence"],
        event_id=row["event_id"],
        caused_by_event_id=row["caused_by_event_id"],
        correlation_id=row["correlation_id"],
        decided_at=row["decided_at"],
    )


def refund_row(refund: Refund) -> dict[str, Any]:
    return {
        "refund_id": refund.refund_id,
        "attempt_id": refund.attempt_id,
        "payment_order_id": refund.payment_order_id,
        "contribution_id": refund.contribution_id,
        "amount_fen": refund.amount.fen,
        "reason": refund.reason,
        "sequence": refund.sequence,
        "refunded_at": refund.refunded_at,
    }


FIND_DECISIONS = text(
    f"SELECT {names(DECISION)} FROM money_decision WHERE attempt_id = ANY(CAST(:ids AS uuid[]))"
)
INSERT_DECISIONS = insert("money_decision", DECISION)
SAVE_ASKED = GuardedUpdate("money_decision", ASKED, decision_row, key="attempt_id", guards=ASKED)
INSERT_REFUNDS = insert("refund", REFUND, "ON CONFLICT (refund_id) DO NOTHING")
TOTALS = text(
    """
    SELECT attempt_id, CAST(sum(amount_fen) AS bigint) AS total_fen FROM refund
    WHERE attempt_id = ANY(CAST(:ids AS uuid[])) GROUP BY attempt_id
    """
)


class MoneyDecisionRows:
    """The decisions of one transaction; made under their contribution's lock."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._connection = unit.connection

    async def find(self, attempt_ids: Iterable[UUID]) -> dict[UUID, MoneyDecision]:
        rows = await self._connection.execute(FIND_DECISIONS, {"ids": sorted(set(attempt_ids))})
        return {row["attempt_id"]: to_decision(row) for row in rows.mappings()}

    async def insert(self, decisions: Sequence[MoneyDecision]) -> None:
        if decisions:
            rows = [decision_row(decision) for decision in decisions]
            await self._connection.execute(INSERT_DECISIONS, binds(DECISION, rows))

    async def save_asked(self, changes: Sequence[tuple[MoneyDecision, MoneyDecision]]) -> None:
        await save_guarded(self._unit, SAVE_ASKED, changes)


class RefundRows:
    """The refunds of one transaction."""

    def __init__(self, unit: Unit) -> None:
        self._connection = unit.connection

    async def insert(self, refunds: Sequence[Refund]) -> None:
        rows = [refund_row(refund) for refund in refunds]
        await self._connection.execute(INSERT_REFUNDS, binds(REFUND, rows))

    async def totals(self, attempt_ids: Iterable[UUID]) -> Mapping[UUID, Money]:
        rows = await self._connection.execute(TOTALS, {"ids": sorted(set(attempt_ids))})
        return {row.attempt_id: Money(row.total_fen) for row in rows}
