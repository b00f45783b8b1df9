"""Contributions, payment requests, decisions about money, refunds, and the messaging tables."""

from alembic import op

from shared.runtime.messaging.tables import create_messaging_tables

revision = "0001"
down_revision = None

CONTRIBUTION = """
CREATE TABLE contribution (
    id                 uuid        PRIMARY KEY,
    insured_person_id  uuid        NOT NULL,
    scheme             text        NOT NULL CHECK (scheme IN ('flexible', 'employee', 'resident')),
    region             text        NOT NULL CHECK (region ~ '^[0-9]{6}$'),
    period             text        NOT NULL CHECK (period ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    base_fen           bigint      NOT NULL CHECK (base_fen > 0),
    amount_fen         bigint      NOT NULL CHECK (amount_fen > 0),
    currency           text        NOT NULL CHECK (currency = 'CNY'),
    shares             jsonb       NOT NULL CHECK (jsonb_typeof(shares) = 'array'),
    rule_id            text        NOT NULL,
    provisional        boolean     NOT NULL,
    supersedes         uuid        UNIQUE REFERENCES contribution,
    status             text        NOT NULL CHECK (status IN (
        'ASSESSED', 'PAYMENT_PENDING', 'PAID', 'CREDITED', 'CREDIT_REFUSED', 'SUPERSEDED')),
    version            bigint      NOT NULL CHECK (version >= 1),
    payment_order_id   uuid,
    reason             text,
    can_retry          boolean     NOT NULL,
    paid_by_attempt_id uuid        UNIQUE,
    paid_at            timestamptz,
    correlation_id     uuid        NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CHECK ((paid_by_attempt_id IS NOT NULL) = (status IN ('PAID', 'CREDITED', 'CREDIT_REFUSED'))),
    CHECK ((paid_at IS NULL) = (paid_by_attempt_id IS NULL)),
    CHECK (status <> 'PAYMENT_PENDING' OR payment_order_id IS NOT NULL)
);
CREATE UNIQUE INDEX contribution_current ON contribution (insured_person_id, scheme, period)
    WHERE status <> 'SUPERSEDED';
CREATE INDEX contribution_person ON contribution (insured_person_id, id)
"""

PAYMENT_REQUEST = """
CREATE TABLE payment_request (
    payment_order_id  uuid        PRIMARY KEY,
    contribution_id   uuid        NOT NULL REFERENCES contribution,
    insured_person_id uuid        NOT NULL,
    payer_id          uuid        NOT NULL,
    channel           text,
    amount_fen        bigint      NOT NULL CHECK (amount_fen > 0),
    currency          text        NOT NULL CHECK (currency = 'CNY'),
    scheme            text        NOT NULL,
    region            text        NOT NULL,
    period            text        NOT NULL,
    status            text        NOT NULL CHECK (status IN ('OPEN', 'SETTLED', 'FAILED')),
    version           bigint      NOT NULL CHECK (version >= 1),
    ask_count         integer     NOT NULL CHECK (ask_count >= 0),
    next_ask_at       timestamptz NOT NULL,
    outcome_sequence  bigint      NOT NULL CHECK (outcome_sequence >= 0),
    expires_at        timestamptz NOT NULL,
    attempt_id        uuid,
    reason            text,
    correlation_id    uuid        NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CHECK ((attempt_id IS NOT NULL) = (status = 'SETTLED')),
    CHECK ((reason IS NOT NULL) = (status = 'FAILED'))
);
CREATE UNIQUE INDEX payment_request_open ON payment_request (contribution_id)
    WHERE status = 'OPEN';
CREATE INDEX payment_request_due ON payment_request (next_ask_at) WHERE status = 'OPEN';
CREATE INDEX payment_request_contribution ON payment_request (contribution_id)
"""

MONEY = """
CREATE TABLE money_decision (
    attempt_id         uuid        PRIMARY KEY,
    payment_order_id   uuid        NOT NULL REFERENCES payment_request,
    contribution_id    uuid        NOT NULL REFERENCES contribution,
    insured_person_id  uuid        NOT NULL,
    amount_fen         bigint      NOT NULL CHECK (amount_fen >= 0),
    decision           text        NOT NULL CHECK (decision IN ('ACCEPTED', 'REJECTED')),
    reason             text        NOT NULL,
    version            bigint      NOT NULL CHECK (version = 1),
    asked_sequence     bigint      NOT NULL CHECK (asked_sequence >= 1),
    event_id           uuid        NOT NULL UNIQUE,
    caused_by_event_id uuid        NOT NULL,
    correlation_id     uuid        NOT NULL,
    decided_at         timestamptz NOT NULL
);
CREATE INDEX money_decision_contribution ON money_decision (contribution_id);
CREATE TABLE refund (
    refund_id        uuid        PRIMARY KEY,
    attempt_id       uuid        NOT NULL,
    payment_order_id uuid        NOT NULL REFERENCES payment_request,
    contribution_id  uuid        NOT NULL REFERENCES contribution,
    amount_fen       bigint      NOT NULL CHECK (amount_fen >= 0),
    reason           text        NOT NULL,
    sequence         bigint      NOT NULL CHECK (sequence >= 1),
    refunded_at      timestamptz NOT NULL
);
CREATE INDEX refund_attempt ON refund (attempt_id)
"""


def upgrade() -> None:
    create_messaging_tables(op)
    for script in (CONTRIBUTION, PAYMENT_REQUEST, MONEY):
        for statement in script.split(";"):
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("money is never forgotten: restore a backup instead")
