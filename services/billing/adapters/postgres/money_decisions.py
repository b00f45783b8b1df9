"""Decisions about unexpected money, and refunds, in PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from services.billing.adapters.postgres.guarded import check_all_saved, uuid_list
from services.billing.domain.money_decision import (
    DECISION_VERSION,
    Decision,
    MoneyDecision,
    Refund,
)
from shared.kernel.money import Money
from shared.runtime.database.statements import Connection, RowMapping, text

FIND_DECISIONS = text(
    """
    SELECT attempt_id, payment_order_id, contribution_id, insured_person_id, amount_fen, decision,
           reason, asked_sequence, event_id, caused_by_event_id, correlation_id, decided_at
    FROM money_decision WHERE attempt_id = ANY(CAST(:ids AS uuid[]))
    """
)
INSERT_DECISIONS = text(
    """
    INSERT INTO money_decision (
        attempt_id, payment_order_id, contribution_id, insured_person_id, amount_fen, decision,
        reason, version, asked_sequence, event_id, caused_by_event_id, correlation_id, decided_at)
    SELECT * FROM unnest(
        CAST(:attempt_ids AS uuid[]), CAST(:order_ids AS uuid[]), CAST(:contribution_ids AS uuid[]),
        CAST(:person_ids AS uuid[]), CAST(:amounts AS bigint[]), CAST(:decisions AS text[]),
        CAST(:reasons AS text[]), CAST(:versions AS bigint[]), CAST(:sequences AS bigint[]),
        CAST(:event_ids AS uuid[]), CAST(:causes AS uuid[]), CAST(:correlation_ids AS uuid[]),
        CAST(:decided_ats AS timestamptz[]))
    """
)
SAVE_ASKED = text(
    """
    UPDATE money_decision d SET asked_sequence = new.asked_sequence
    FROM unnest(CAST(:attempt_ids AS uuid[]), CAST(:sequences AS bigint[]))
         AS new (attempt_id, asked_sequence)
    WHERE d.attempt_id = new.attempt_id AND d.asked_sequence < new.asked_sequence
    """
)
INSERT_REFUNDS = text(
    """
    INSERT INTO refund (refund_id, attempt_id, payment_order_id, contribution_id, amount_fen,
                        reason, sequence, refunded_at)
    SELECT * FROM unnest(
        CAST(:refund_ids AS uuid[]), CAST(:attempt_ids AS uuid[]), CAST(:order_ids AS uuid[]),
        CAST(:contribution_ids AS uuid[]), CAST(:amounts AS bigint[]), CAST(:reasons AS text[]),
        CAST(:sequences AS bigint[]), CAST(:refunded_ats AS timestamptz[]))
    ON CONFLICT (refund_id) DO NOTHING
    """
)
TOTALS = text(
    """
    SELECT attempt_id, CAST(sum(amount_fen) AS bigint) AS total_fen FROM refund
    WHERE attempt_id = ANY(CAST(:ids AS uuid[])) GROUP BY attempt_id
    """
)


class MoneyDecisionRows:
    """The decisions of one transaction; made under their contribution's lock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, attempt_ids: Iterable[UUID]) -> dict[UUID, MoneyDecision]:
        rows = await self._connection.execute(FIND_DECISIONS, {"ids": uuid_list(attempt_ids)})
        return {row["attempt_id"]: _decision(row) for row in rows.mappings()}

    async def insert(self, decisions: Sequence[MoneyDecision]) -> None:
        if not decisions:
            return
        await self._connection.execute(
            INSERT_DECISIONS,
            {
                "attempt_ids": [d.attempt_id for d in decisions],
                "order_ids": [d.payment_order_id for d in decisions],
                "contribution_ids": [d.contribution_id for d in decisions],
                "person_ids": [d.insured_person_id for d in decisions],
                "amounts": [d.amount.fen for d in decisions],
                "decisions": [str(d.decision) for d in decisions],
                "reasons": [d.reason for d in decisions],
                "versions": [DECISION_VERSION for _ in decisions],
                "sequences": [d.asked_sequence for d in decisions],
                "event_ids": [d.event_id for d in decisions],
                "causes": [d.caused_by_event_id for d in decisions],
                "correlation_ids": [d.correlation_id for d in decisions],
                "decided_ats": [d.decided_at for d in decisions],
            },
        )

    async def save_asked(self, decisions: Sequence[MoneyDecision]) -> None:
        saved = await self._connection.execute(
            SAVE_ASKED,
            {
                "attempt_ids": [d.attempt_id for d in decisions],
                "sequences": [d.asked_sequence for d in decisions],
            },
        )
        check_all_saved("money_decision", saved.rowcount, len(decisions))


class RefundRows:
    """The refunds of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert(self, refunds: Sequence[Refund]) -> None:
        await self._connection.execute(
            INSERT_REFUNDS,
            {
                "refund_ids": [r.refund_id for r in refunds],
                "attempt_ids": [r.attempt_id for r in refunds],
                "order_ids": [r.payment_order_id for r in refunds],
                "contribution_ids": [r.contribution_id for r in refunds],
                "amounts": [r.amount.fen for r in refunds],
                "reasons": [r.reason for r in refunds],
                "sequences": [r.sequence for r in refunds],
                "refunded_ats": [r.refunded_at for r in refunds],
            },
        )

    async def totals(self, attempt_ids: Iterable[UUID]) -> Mapping[UUID, Money]:
        rows = await self._connection.execute(TOTALS, {"ids": uuid_list(attempt_ids)})
        return {row.attempt_id: Money(row.total_fen) for row in rows}


def _decision(row: RowMapping) -> MoneyDecision:
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
