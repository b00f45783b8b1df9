"""Contributions in PostgreSQL: sets are read and written in one statement each."""

from collections.abc import Iterable, Sequence
from copy import copy
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.billing.adapters.postgres.guarded import check_all_saved, uuid_list
from services.billing.application.ports import ContributionView
from services.billing.domain.contribution import Contribution, ContributionStatus
from shared.kernel.events import Share
from shared.kernel.money import Money
from shared.runtime.database.statements import Connection, RowMapping, text

COLUMNS = """
    c.id, c.insured_person_id, c.scheme, c.region, c.period, c.base_fen, c.amount_fen, c.currency,
    CAST(c.shares AS text) AS shares, c.rule_id, c.provisional, c.supersedes, c.status, c.version,
    c.payment_order_id, c.reason, c.can_retry, c.paid_by_attempt_id, c.paid_at, c.correlation_id,
    c.created_at
"""
LOCK = text(
    f"""
    SELECT {COLUMNS} FROM contribution c
    WHERE c.id = ANY(CAST(:ids AS uuid[])) ORDER BY c.id FOR UPDATE
    """
)
# Where there is no row yet there is none to lock. The unique index is the belt to this lock.
LOCK_MONTH = text("SELECT pg_advisory_xact_lock(hashtextextended(:month, 0))")
LOCK_CURRENT = text(
    f"""
    SELECT {COLUMNS} FROM contribution c
    WHERE c.insured_person_id = :person_id AND c.scheme = :scheme AND c.period = :period
      AND c.status <> 'SUPERSEDED'
    FOR UPDATE
    """
)
INSERT = text(
    """
    INSERT INTO contribution (
        id, insured_person_id, scheme, region, period, base_fen, amount_fen, currency, shares,
        rule_id, provisional, supersedes, status, version, can_retry, correlation_id, created_at)
    SELECT id, insured_person_id, scheme, region, period, base_fen, amount_fen, currency,
           CAST(shares AS jsonb), rule_id, provisional, supersedes, status, version, can_retry,
           correlation_id, created_at
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:insured_person_ids AS uuid[]), CAST(:schemes AS text[]),
        CAST(:regions AS text[]), CAST(:periods AS text[]), CAST(:base_fens AS bigint[]),
        CAST(:amount_fens AS bigint[]), CAST(:currencies AS text[]), CAST(:shares AS text[]),
        CAST(:rule_ids AS text[]), CAST(:provisionals AS boolean[]), CAST(:supersedes AS uuid[]),
        CAST(:statuses AS text[]), CAST(:versions AS bigint[]), CAST(:can_retries AS boolean[]),
        CAST(:correlation_ids AS uuid[]), CAST(:created_ats AS timestamptz[])
    ) AS row (id, insured_person_id, scheme, region, period, base_fen, amount_fen, currency,
              shares, rule_id, provisional, supersedes, status, version, can_retry,
              correlation_id, created_at)
    """
)
SAVE = text(
    """
    UPDATE contribution c
    SET status = new.status, version = new.version, payment_order_id = new.payment_order_id,
        reason = new.reason, can_retry = new.can_retry,
        paid_by_attempt_id = new.paid_by_attempt_id, paid_at = new.paid_at, updated_at = now()
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:old_versions AS bigint[]), CAST(:statuses AS text[]),
        CAST(:versions AS bigint[]), CAST(:payment_order_ids AS uuid[]), CAST(:reasons AS text[]),
        CAST(:can_retries AS boolean[]), CAST(:attempt_ids AS uuid[]),
        CAST(:paid_ats AS timestamptz[])
    ) AS new (id, old_version, status, version, payment_order_id, reason, can_retry,
              paid_by_attempt_id, paid_at)
    WHERE c.id = new.id AND c.version = new.old_version
    """
)
REPLACEMENT = text(
    """
    SELECT newer.id FROM contribution old
    JOIN contribution newer USING (insured_person_id, scheme, period)
    WHERE old.id = :id AND newer.status <> 'SUPERSEDED'
    """
)
VIEW = f"""
    SELECT {COLUMNS}, r.expires_at FROM contribution c
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

_shares = msgspec.json.Decoder(tuple[Share, ...])


class ContributionRows:
    """The contributions of one transaction; remembers what it loaded, to save only changes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loaded: dict[UUID, Contribution] = {}

    async def lock(self, ids: Iterable[UUID]) -> dict[UUID, Contribution]:
        rows = await self._connection.execute(LOCK, {"ids": uuid_list(ids)})
        found = [self._remember(row) for row in rows.mappings()]
        return {contribution.id: contribution for contribution in found}

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
        return self._remember(row) if row is not None else None

    async def insert(self, contributions: Sequence[Contribution]) -> None:
        if contributions:
            await self._connection.execute(INSERT, _columns(contributions))
            self._loaded |= {c.id: copy(c) for c in contributions}

    async def save(self, contributions: Iterable[Contribution]) -> None:
        changed = [c for c in contributions if c != self._loaded[c.id]]
        if not changed:
            return
        saved = await self._connection.execute(
            SAVE,
            {
                "ids": [c.id for c in changed],
                "old_versions": [self._loaded[c.id].version for c in changed],
                "statuses": [str(c.status) for c in changed],
                "versions": [c.version for c in changed],
                "payment_order_ids": [c.payment_order_id for c in changed],
                "reasons": [c.reason for c in changed],
                "can_retries": [c.can_retry for c in changed],
                "attempt_ids": [c.paid_by_attempt_id for c in changed],
                "paid_ats": [c.paid_at for c in changed],
            },
        )
        check_all_saved("contribution", saved.rowcount, len(changed))
        self._loaded |= {c.id: copy(c) for c in changed}

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

    def _remember(self, row: RowMapping) -> Contribution:
        contribution = _contribution(row)
        self._loaded[contribution.id] = copy(contribution)
        return contribution


def _view(row: RowMapping) -> ContributionView:
    expires_at: datetime | None = row["expires_at"]
    return ContributionView(_contribution(row), expires_at)


def _contribution(row: RowMapping) -> Contribution:
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


def _columns(contributions: Sequence[Contribution]) -> dict[str, list[Any]]:
    return {
        "ids": [c.id for c in contributions],
        "insured_person_ids": [c.insured_person_id for c in contributions],
        "schemes": [c.scheme for c in contributions],
        "regions": [c.region for c in contributions],
        "periods": [c.period for c in contributions],
        "base_fens": [c.base.fen for c in contributions],
        "amount_fens": [c.amount.fen for c in contributions],
        "currencies": [c.currency for c in contributions],
        "shares": [msgspec.json.encode(c.shares).decode() for c in contributions],
        "rule_ids": [c.rule_id for c in contributions],
        "provisionals": [c.provisional for c in contributions],
        "supersedes": [c.supersedes for c in contributions],
        "statuses": [str(c.status) for c in contributions],
        "versions": [c.version for c in contributions],
        "can_retries": [c.can_retry for c in contributions],
        "correlation_ids": [c.correlation_id for c in contributions],
        "created_ats": [c.created_at for c in contributions],
    }
