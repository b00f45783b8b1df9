"""Contributions in PostgreSQL: sets are read and written in one statement each."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.billing.application.ports import ContributionView
from services.billing.domain.contribution import CONTRIBUTION, Contribution, ContributionStatus
from shared.kernel.events import Share
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
from shared.runtime.database.statements import RowMapping, text
from shared.runtime.database.unit_of_work import Unit

FACTS: Columns = {
    "id": "uuid",
    "insured_person_id": "uuid",
    "scheme": "text",
    "region": "text",
    "period": "text",
    "base_fen": "bigint",
    "amount_fen": "bigint",
    "currency": "text",
    "rule_id": "text",
    "provisional": "boolean",
    "supersedes": "uuid",
    "correlation_id": "uuid",
    "created_at": "timestamptz",
}
# What changes during a contribution's life.
STATE: Columns = {
    "status": "text",
    "version": "bigint",
    "payment_order_id": "uuid",
    "reason": "text",
    "can_retry": "boolean",
    "paid_by_attempt_id": "uuid",
    "paid_at": "timestamptz",
}
NEW: Columns = {**FACTS, "shares": "jsonb", **STATE}
# As text, which both drivers leave as it is.
READ = f"{names({**FACTS, **STATE}, 'c.')}, CAST(c.shares AS text) AS shares"
_shares = msgspec.json.Decoder(tuple[Share, ...])


def contribution_row(contribution: Contribution) -> dict[str, Any]:
    return {
        "id": contribution.id,
        "insured_person_id": contribution.insured_person_id,
        "scheme": contribution.scheme,
        "region": contribution.region,
        "period": contribution.period,
        "base_fen": contribution.base.fen,
        "amount_fen": contribution.amount.fen,
        "currency": contribution.currency,
        "shares": msgspec.json.encode(contribution.shares).decode(),
        "rule_id": contribution.rule_id,
        "provisional": contribution.provisional,
        "supersedes": contribution.supersedes,
        "correlation_id": contribution.correlation_id,
        "created_at": contribution.created_at,
        "status": contribution.status.value,
        "version": contribution.version,
        "payment_order_id": contribution.payment_order_id,
        "reason": contribution.reason,
        "can_retry": contribution.can_retry,
        "paid_by_attempt_id": contribution.paid_by_attempt_id,
        "paid_at": contribution.paid_at,
    }


def to_contribution(row: Row) -> Contribution:
    return Contribution(
        id=row["id"],
        insured_person_id=row["insured_person_id"],
        scheme=row["scheme"],
        region=row["region"],
        period=row["period"],
        base=Money(row["base_fen"]),
        amount=Money(row["amount_fen"]),
        currency=row["currency"],
        shares=_shares.decode(row["shares"]),
        rule_id=row["rule_id"],
        provisional=row["provisional"],
        supersedes=row["supersedes"],
        status=ContributionStatus(row["status"]),
        version=row["version"],
        payment_order_id=row["payment_order_id"],
        reason=row["reason"],
        can_retry=row["can_retry"],
        paid_by_attempt_id=row["paid_by_attempt_id"],
        paid_at=row["paid_at"],
        correlation_id=row["correlation_id"],
        created_at=row["created_at"],
    )


LOCK = text(
    f"""
    SELECT {READ} FROM contribution c
    WHERE c.id = ANY(CAST(:ids AS uuid[])) ORDER BY c.id FOR UPDATE
    """
)
# Where there is no row yet there is none to lock. The unique index is the belt to this lock.
LOCK_MONTH = text("SELECT pg_advisory_xact_lock(hashtextextended(:month, 0))")
LOCK_CURRENT = text(
    f"""
    SELECT {READ} FROM contribution c
    WHERE c.insured_person_id = :person_id AND c.scheme = :scheme AND c.period = :period
      AND c.status <> 'SUPERSEDED'
    FOR UPDATE
    """
)
INSERT = insert("contribution", NEW)
SAVE = GuardedUpdate(
    "contribution", STATE, contribution_row, moves=CONTRIBUTION, also="updated_at = now()"
)
REPLACEMENT = text(
    """
    SELECT newer.id FROM contribution old
    JOIN contribution newer USING (insured_person_id, scheme, period)
    WHERE old.id = :id AND newer.status <> 'SUPERSEDED'
    """
)
VIEW = f"""
    SELECT {READ}, r.expires_at FROM contribution c
    LEFT JOIN payment_request r ON r.payment_order_id = c.payment_order_id
"""
VIEW_OWN = text(f"{VIEW} WHERE c.id = :id AND c.insured_person_id = :person_id")
LIST_OWN = text(
    f"""
    {VIEW}
    WHERE c.insured_person_id = :person_id AND c.status <> 'SUPERSEDED'
      AND (CAST(:before AS uuid) IS NULL OR c.id < CAST(:before AS uuid))
    ORDER BY c.id DESC LIMIT :limit
    """
)


class ContributionRows:
    """The contributions of one transaction."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._connection = unit.connection

    async def lock(self, ids: Iterable[UUID]) -> dict[UUID, Contribution]:
        rows = await self._connection.execute(LOCK, {"ids": sorted(set(ids))})
        return {row["id"]: to_contribution(row) for row in rows.mappings()}

    async def lock_own(self, contribution_id: UUID, person_id: UUID) -> Contribution | None:
        found = (await self.lock([contribution_id])).get(contribution_id)
        return found if found is not None and found.insured_person_id == person_id else None

    async def lock_current(
        self, person_id: UUID, *, scheme: str, period: str
    ) -> Contribution | None:
        await self._connection.execute(LOCK_MONTH, {"month": f"{person_id}/{scheme}/{period}"})
        rows = await self._connection.execute(
            LOCK_CURRENT, {"person_id": person_id, "scheme": scheme, "period": period}
        )
        row = rows.mappings().one_or_none()
        return to_contribution(row) if row is not None else None

    async def insert(self, contributions: Sequence[Contribution]) -> None:
        if contributions:
            rows = [contribution_row(contribution) for contribution in contributions]
            await self._connection.execute(INSERT, binds(NEW, rows))

    async def save(self, changes: Sequence[tuple[Contribution, Contribution]]) -> None:
        await save_guarded(self._unit, SAVE, changes)

    async def replacement_of(self, contribution_id: UUID) -> UUID | None:
        found: UUID | None = await self._connection.scalar(REPLACEMENT, {"id": contribution_id})
        return found

    async def view_own(self, contribution_id: UUID, person_id: UUID) -> ContributionView | None:
        rows = await self._connection.execute(
            VIEW_OWN, {"id": contribution_id, "person_id": person_id}
        )
        row = rows.mappings().one_or_none()
        return _view(row) if row is not None else None

    async def list_own(
        self, person_id: UUID, *, before: UUID | None, limit: int
    ) -> list[ContributionView]:
        rows = await self._connection.execute(
            LIST_OWN, {"person_id": person_id, "before": before, "limit": limit}
        )
        return [_view(row) for row in rows.mappings()]


def _view(row: RowMapping) -> ContributionView:
    expires_at: datetime | None = row["expires_at"]
    return ContributionView(to_contribution(row), expires_at)
