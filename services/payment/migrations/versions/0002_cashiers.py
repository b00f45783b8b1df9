"""What cashiers need: method and close wish of an attempt, notifications, returns, switches.

Only adds: processes of the revision before keep running beside it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PAYMENT_ATTEMPT = """
ALTER TABLE payment_attempt
    ADD COLUMN method          text,
    ADD COLUMN close_wanted_at timestamptz,
    ADD COLUMN asked_at        timestamptz
"""

# Kept for ever: a notification of last year must not count a second time.
CHANNEL_NOTIFICATION = """
CREATE TABLE channel_notification (
    channel         text        NOT NULL,
    notification_id text        NOT NULL CHECK (length(notification_id) <= 128),
    attempt_id      uuid        NOT NULL REFERENCES payment_attempt (id),
    answer          text        NOT NULL,
    occurred_at     timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    body_sha256     bytea       NOT NULL,
    PRIMARY KEY (channel, notification_id)
);
CREATE INDEX channel_notification_attempt ON channel_notification (attempt_id)
"""

# Evidence of what was not believed: written by strangers, so small, and each body once.
REFUSED_NOTIFICATION = """
CREATE TABLE refused_notification (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel     text        NOT NULL,
    reason      text        NOT NULL,
    body_sha256 bytea       NOT NULL,
    body_bytes  integer     NOT NULL,
    evidence    bytea       NOT NULL CHECK (octet_length(evidence) <= 4096),
    received_at timestamptz NOT NULL,
    UNIQUE (channel, reason, body_sha256)
);
CREATE INDEX refused_notification_received ON refused_notification (received_at)
"""

RETURN_TOKEN = """
CREATE TABLE return_token (
    token_hash bytea       PRIMARY KEY,
    order_id   uuid        NOT NULL REFERENCES payment_order (id),
    expires_at timestamptz NOT NULL
);
CREATE INDEX return_token_expiring ON return_token (expires_at)
"""

# The newest row of a channel is how it stands; all rows together are who did it, when and why.
CHANNEL_SWITCH = """
CREATE TABLE channel_switch (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel     text        NOT NULL,
    is_stopped  boolean     NOT NULL,
    switched_by text        NOT NULL CHECK (switched_by <> ''),
    why         text        NOT NULL CHECK (why <> ''),
    switched_at timestamptz NOT NULL
);
CREATE INDEX channel_switch_newest ON channel_switch (channel, id DESC)
"""


def upgrade() -> None:
    for script in (
        PAYMENT_ATTEMPT,
        CHANNEL_NOTIFICATION,
        REFUSED_NOTIFICATION,
        RETURN_TOKEN,
        CHANNEL_SWITCH,
    ):
        for statement in script.split(";"):
            op.execute(statement)
