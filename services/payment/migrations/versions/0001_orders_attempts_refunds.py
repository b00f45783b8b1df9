"""Payment orders, attempts and refunds, and the messaging tables."""

from alembic import op

from shared.runtime.messaging.tables import create_messaging_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# One open order per contribution is billing's rule; here it is a tripwire.
PAYMENT_ORDER = """
CREATE TABLE payment_order (
    id                uuid        PRIMARY KEY,
    contribution_id   uuid        NOT NULL,
    insured_person_id uuid        NOT NULL,
    payer_id          uuid        NOT NULL,
    amount_fen        bigint      NOT NULL CHECK (amount_fen > 0),
    currency          text        NOT NULL CHECK (currency = 'CNY'),
    scheme            text        NOT NULL,
    region            text        NOT NULL,
    period            text        NOT NULL,
    channel           text        NOT NULL,
    status            text        NOT NULL
        CHECK (status IN ('REQUESTED', 'SETTLED', 'FAILED', 'REFUNDED')),
    version           integer     NOT NULL CHECK (version > 0),
    expires_at        timestamptz NOT NULL,
    opened_at         timestamptz NOT NULL,
    correlation_id    uuid        NOT NULL,
    causation_id      uuid        NOT NULL,
    last_ask_sequence bigint      NOT NULL,
    reason            text,
    failed_version    integer,
    settled_version   integer,
    attempt_id        uuid,
    settled_channel   text,
    channel_trade_no  text,
    settled_at        timestamptz,
    accepted_event_id uuid,
    CHECK (status <> 'REQUESTED' OR coalesce(failed_version, settled_version) IS NULL),
    CHECK (status <> 'FAILED' OR (failed_version IS NOT NULL AND settled_version IS NULL)),
    CHECK ((status IN ('SETTLED', 'REFUNDED')) = (settled_version IS NOT NULL)),
    CHECK ((failed_version IS NULL) = (reason IS NULL)),
    CHECK (num_nonnulls(settled_version, attempt_id, settled_channel, channel_trade_no, settled_at)
           IN (0, 5)),
    CHECK (accepted_event_id IS NULL OR num_nulls(failed_version, settled_version) = 0)
);
CREATE UNIQUE INDEX payment_order_open ON payment_order (contribution_id)
    WHERE status = 'REQUESTED';
CREATE INDEX payment_order_expiring ON payment_order (expires_at) WHERE status = 'REQUESTED'
"""

# A half-set lease and money without a trade number cannot be stored.
PAYMENT_ATTEMPT = """
CREATE TABLE payment_attempt (
    id                  uuid        PRIMARY KEY,
    order_id            uuid        NOT NULL REFERENCES payment_order (id),
    channel             text        NOT NULL,
    amount_fen          bigint      NOT NULL CHECK (amount_fen > 0),
    status              text        NOT NULL CHECK (status IN
        ('STARTED', 'AWAITING_PAYER', 'UNKNOWN', 'SUCCEEDED', 'DECLINED', 'CLOSED')),
    version             integer     NOT NULL CHECK (version > 0),
    expires_at          timestamptz NOT NULL,
    created_at          timestamptz NOT NULL,
    next_call           text        NOT NULL CHECK (next_call IN ('start', 'query')),
    due_at              timestamptz,
    lease_owner         uuid,
    lease_until         timestamptz,
    send_count          integer     NOT NULL DEFAULT 0 CHECK (send_count >= 0),
    first_sent_at       timestamptz,
    query_count         integer     NOT NULL DEFAULT 0 CHECK (query_count >= 0),
    unknown_since       timestamptz,
    promised_until      timestamptz,
    not_there_count     integer     NOT NULL DEFAULT 0,
    last_not_there_at   timestamptz,
    trade_no            text,
    received_fen        bigint      CHECK (received_fen > 0),
    succeeded_at        timestamptz,
    reason              text,
    unexpected_sequence integer     NOT NULL DEFAULT 0 CHECK (unexpected_sequence >= 0),
    decision            text        CHECK (decision IN ('ACCEPTED', 'REJECTED')),
    CHECK ((lease_owner IS NULL) = (lease_until IS NULL)),
    CHECK ((send_count = 0) = (first_sent_at IS NULL)),
    CHECK ((status = 'UNKNOWN') = (unknown_since IS NOT NULL)),
    CHECK ((unknown_since IS NULL) = (promised_until IS NULL)),
    CHECK ((status = 'SUCCEEDED') = (received_fen IS NOT NULL)),
    CHECK (num_nonnulls(received_fen, trade_no, succeeded_at) IN (0, 3)),
    CHECK (status NOT IN ('STARTED', 'AWAITING_PAYER', 'UNKNOWN') OR due_at IS NOT NULL),
    CHECK (decision IS NULL OR unexpected_sequence > 0)
);
CREATE INDEX payment_attempt_order ON payment_attempt (order_id);
CREATE INDEX payment_attempt_due ON payment_attempt (due_at)
    WHERE status IN ('STARTED', 'AWAITING_PAYER', 'UNKNOWN');
CREATE INDEX payment_attempt_undecided ON payment_attempt (due_at)
    WHERE unexpected_sequence > 0 AND decision IS NULL
"""

REFUND = """
CREATE TABLE refund (
    id           uuid        PRIMARY KEY,
    attempt_id   uuid        NOT NULL REFERENCES payment_attempt (id),
    order_id     uuid        NOT NULL REFERENCES payment_order (id),
    amount_fen   bigint      NOT NULL CHECK (amount_fen > 0),
    reason       text        NOT NULL CHECK (reason IN ('not_owed', 'wrong_amount')),
    status       text        NOT NULL CHECK (status IN
        ('REQUESTED', 'SUBMITTED', 'SUCCEEDED', 'REFUSED', 'UNKNOWN')),
    version      integer     NOT NULL DEFAULT 1 CHECK (version > 0),
    requested_at timestamptz NOT NULL
);
CREATE INDEX refund_attempt ON refund (attempt_id);
CREATE INDEX refund_order ON refund (order_id)
"""


def upgrade() -> None:
    create_messaging_tables(op)
    for script in (PAYMENT_ORDER, PAYMENT_ATTEMPT, REFUND):
        for statement in script.split(";"):
            op.execute(statement)
