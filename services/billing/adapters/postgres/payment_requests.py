"""Payment requests in PostgreSQL; locked after their contributions, in order of the order id."""

from collections.abc import Iterable, Sequence
from copy import copy
from datetime import UTC, datetime
from uuid import UUID

from services.billing.adapters.metrics import SETTLEMENT_SECONDS
from services.billing.adapters.postgres.guarded import check_all_saved, uuid_list
from services.billing.domain.payment_request import PaymentRequest, PaymentRequestStatus
from shared.kernel.events import ORDERS_TOPIC
from shared.kernel.money import Money
from shared.runtime.database.statements import Connection, RowMapping, text

COLUMNS = """
    payment_order_id, contribution_id, insured_person_id, payer_id, channel, amount_fen, currency,
    scheme, region, period, status, version, ask_count, next_ask_at, outcome_sequence, expires_at,
    attempt_id, reason, correlation_id, created_at
"""
LOCK = text(
    f"""
    SELECT {COLUMNS} FROM payment_request
    WHERE payment_order_id = ANY(CAST(:ids AS uuid[])) ORDER BY payment_order_id FOR UPDATE
    """
)
# Only requests are locked here and nothing after them, so this never waits in a circle.
LOCK_DUE = text(
    f"""
    SELECT {COLUMNS} FROM payment_request
    WHERE status = 'OPEN' AND next_ask_at <= :now
    ORDER BY next_ask_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
INSERT = text(
    """
    INSERT INTO payment_request (
        payment_order_id, contribution_id, insured_person_id, payer_id, channel, amount_fen,
        currency, scheme, region, period, status, version, ask_count, next_ask_at,
        outcome_sequence, expires_at, correlation_id, created_at)
    SELECT * FROM unnest(
        CAST(:payment_order_ids AS uuid[]), CAST(:contribution_ids AS uuid[]),
        CAST(:insured_person_ids AS uuid[]), CAST(:payer_ids AS uuid[]), CAST(:channels AS text[]),
        CAST(:amount_fens AS bigint[]), CAST(:currencies AS text[]), CAST(:schemes AS text[]),
        CAST(:regions AS text[]), CAST(:periods AS text[]), CAST(:statuses AS text[]),
        CAST(:versions AS bigint[]), CAST(:ask_counts AS integer[]),
        CAST(:next_ask_ats AS timestamptz[]), CAST(:outcome_sequences AS bigint[]),
        CAST(:expires_ats AS timestamptz[]), CAST(:correlation_ids AS uuid[]),
        CAST(:created_ats AS timestamptz[]))
    """
)
SAVE = text(
    """
    UPDATE payment_request r
    SET status = new.status, version = new.version, ask_count = new.ask_count,
        next_ask_at = new.next_ask_at, outcome_sequence = new.outcome_sequence,
        attempt_id = new.attempt_id, reason = new.reason, updated_at = now()
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:old_versions AS bigint[]), CAST(:old_sequences AS bigint[]),
        CAST(:statuses AS text[]), CAST(:versions AS bigint[]), CAST(:ask_counts AS integer[]),
        CAST(:next_ask_ats AS timestamptz[]), CAST(:sequences AS bigint[]),
        CAST(:attempt_ids AS uuid[]), CAST(:reasons AS text[])
    ) AS new (id, old_version, old_sequence, status, version, ask_count, next_ask_at,
              outcome_sequence, attempt_id, reason)
    WHERE r.payment_order_id = new.id AND r.version = new.old_version
      AND r.outcome_sequence = new.old_sequence
    """
)
BLOCKED = text(
    """
    SELECT DISTINCT key FROM blocked_key
    WHERE consumer = :consumer AND topic = :topic AND key = ANY(CAST(:keys AS bytea[]))
    """
)


class PaymentRequestRows:
    """The payment requests of one transaction; saves only what changed since it was loaded."""

    def __init__(self, connection: Connection, *, consumer: str) -> None:
        self._connection = connection
        self._consumer = consumer
        self._loaded: dict[UUID, PaymentRequest] = {}

    async def lock(self, order_ids: Iterable[UUID]) -> dict[UUID, PaymentRequest]:
        rows = await self._connection.execute(LOCK, {"ids": uuid_list(order_ids)})
        return {row["payment_order_id"]: self._remember(row) for row in rows.mappings()}

    async def lock_due(self, now: datetime, *, limit: int) -> list[PaymentRequest]:
        rows = await self._connection.execute(LOCK_DUE, {"now": now, "limit": limit})
        return [self._remember(row) for row in rows.mappings()]

    async def insert(self, requests: Sequence[PaymentRequest]) -> None:
        if not requests:
            return
        await self._connection.execute(
            INSERT,
            {
                "payment_order_ids": [r.payment_order_id for r in requests],
                "contribution_ids": [r.contribution_id for r in requests],
                "insured_person_ids": [r.insured_person_id for r in requests],
                "payer_ids": [r.payer_id for r in requests],
                "channels": [r.channel for r in requests],
                "amount_fens": [r.amount.fen for r in requests],
                "currencies": [r.currency for r in requests],
                "schemes": [r.scheme for r in requests],
                "regions": [r.region for r in requests],
                "periods": [r.period for r in requests],
                "statuses": [str(r.status) for r in requests],
                "versions": [r.version for r in requests],
                "ask_counts": [r.ask_count for r in requests],
                "next_ask_ats": [r.next_ask_at for r in requests],
                "outcome_sequences": [r.outcome_sequence for r in requests],
                "expires_ats": [r.expires_at for r in requests],
                "correlation_ids": [r.correlation_id for r in requests],
                "created_ats": [r.created_at for r in requests],
            },
        )

    async def save(self, requests: Iterable[PaymentRequest]) -> None:
        changed = [r for r in requests if r != self._loaded[r.payment_order_id]]
        if not changed:
            return
        loaded = [self._loaded[r.payment_order_id] for r in changed]
        saved = await self._connection.execute(
            SAVE,
            {
                "ids": [r.payment_order_id for r in changed],
                "old_versions": [r.version for r in loaded],
                "old_sequences": [r.outcome_sequence for r in loaded],
                "statuses": [str(r.status) for r in changed],
                "versions": [r.version for r in changed],
                "ask_counts": [r.ask_count for r in changed],
                "next_ask_ats": [r.next_ask_at for r in changed],
                "sequences": [r.outcome_sequence for r in changed],
                "attempt_ids": [r.attempt_id for r in changed],
                "reasons": [r.reason for r in changed],
            },
        )
        check_all_saved("payment_request", saved.rowcount, len(changed))
        _measure_settlements(loaded, changed)
        self._loaded |= {r.payment_order_id: copy(r) for r in changed}

    async def blocked_people(self, person_ids: Sequence[UUID]) -> set[UUID]:
        if not person_ids:
            return set()
        rows = await self._connection.execute(
            BLOCKED,
            {
                "consumer": self._consumer,
                "topic": ORDERS_TOPIC,
                "keys": [str(person_id).encode() for person_id in person_ids],
            },
        )
        return {UUID(bytes(row.key).decode()) for row in rows}

    def _remember(self, row: RowMapping) -> PaymentRequest:
        request = _request(row)
        self._loaded[request.payment_order_id] = copy(request)
        return request


def _measure_settlements(before: Sequence[PaymentRequest], after: Sequence[PaymentRequest]) -> None:
    """How long payers waited; money that comes after a failure is another story."""
    for old, new in zip(before, after, strict=True):
        if old.is_open and new.status is PaymentRequestStatus.SETTLED:
            waited = datetime.now(UTC) - new.created_at
            SETTLEMENT_SECONDS.observe(max(0.0, waited.total_seconds()))


def _request(row: RowMapping) -> PaymentRequest:
    return PaymentRequest(
        payment_order_id=row["payment_order_id"],
        contribution_id=row["contribution_id"],
        insured_person_id=row["insured_person_id"],
        payer_id=row["payer_id"],
        channel=row["channel"],
        amount=Money(row["amount_fen"]),
        currency=row["currency"],
        scheme=row["scheme"],
        region=row["region"],
        period=row["period"],
        status=PaymentRequestStatus(row["status"]),
        version=row["version"],
        ask_count=row["ask_count"],
        next_ask_at=row["next_ask_at"],
        outcome_sequence=row["outcome_sequence"],
        expires_at=row["expires_at"],
        attempt_id=row["attempt_id"],
        reason=row["reason"],
        correlation_id=row["correlation_id"],
        created_at=row["created_at"],
    )
