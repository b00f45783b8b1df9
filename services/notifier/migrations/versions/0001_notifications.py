"""The notifier's first tables: what it told whom, and what it knows of bills and orders."""

from alembic import op

from shared.runtime.messaging.tables import create_messaging_tables

revision = "0001"
down_revision = None

# Rows stay for ever: the key is what keeps a replay silent. They hold ids and facts only.
# `due_at` is database time and doubles as the lease; `version` moves with each claim, so that a
# worker whose lease ran out cannot write over the next one's result.
TABLES = """
CREATE TABLE notification (
    id               uuid        PRIMARY KEY,
    event_id         uuid        NOT NULL,
    person_id        uuid        NOT NULL,
    channel          text        NOT NULL CHECK (channel IN ('inbox', 'sms')),
    template         text        NOT NULL CHECK (template <> ''),
    role             text        NOT NULL CHECK (role IN ('insured', 'payer')),
    contribution_id  uuid        NOT NULL,
    payment_order_id uuid,
    facts            text        NOT NULL,
    occurred_at      timestamptz NOT NULL,
    status           text        NOT NULL CHECK (status IN ('QUEUED', 'SUBMITTED', 'DELIVERED',
                                 'UNDELIVERABLE', 'UNKNOWN', 'SUPPRESSED', 'OVERTAKEN')),
    status_at        timestamptz NOT NULL,
    due_at           timestamptz,
    sent_at          timestamptz,
    try_count        integer     NOT NULL DEFAULT 0 CHECK (try_count >= 0),
    send_count       integer     NOT NULL DEFAULT 0 CHECK (send_count >= 0),
    version          integer     NOT NULL DEFAULT 0,
    UNIQUE (event_id, channel, person_id),
    CHECK (channel = 'sms' OR status = 'DELIVERED'),
    CHECK ((due_at IS NOT NULL) = (status IN ('QUEUED', 'SUBMITTED'))),
    CHECK ((send_count > 0) = (sent_at IS NOT NULL))
);
CREATE INDEX notification_inbox ON notification (person_id, occurred_at DESC, id DESC)
    WHERE channel = 'inbox';
CREATE INDEX notification_due ON notification (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notification_queued ON notification (payment_order_id) WHERE status = 'QUEUED';
CREATE TABLE bill (
    contribution_id uuid PRIMARY KEY,
    scheme          text NOT NULL,
    region          text NOT NULL,
    period          text NOT NULL
);
CREATE TABLE payment_order (
    id      uuid    PRIMARY KEY,
    settled boolean NOT NULL
)
"""


def upgrade() -> None:
    create_messaging_tables(op)
    for statement in TABLES.split(";"):
        op.execute(statement)
