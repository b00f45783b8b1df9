"""People, sessions, the daily SMS budget, and the messaging tables."""

from alembic import op

from shared.runtime.messaging.tables import create_messaging_tables

revision = "0001"
down_revision = None

# A phone is stored encrypted; equal phones are found by an HMAC, and are one person.
TABLES = """
CREATE TABLE person (
    id           uuid        PRIMARY KEY,
    phone_sealed bytea       NOT NULL,
    phone_index  bytea       NOT NULL UNIQUE CHECK (octet_length(phone_index) = 32),
    created_at   timestamptz NOT NULL
);
CREATE TABLE session (
    id         uuid        PRIMARY KEY,
    person_id  uuid        NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    opened_at  timestamptz NOT NULL,
    ended_at   timestamptz,
    end_reason text        CHECK (end_reason IN ('logout', 'reuse')),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
CREATE INDEX session_person ON session (person_id);
CREATE TABLE refresh_token (
    token_hash bytea       PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    session_id uuid        NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    issued_at  timestamptz NOT NULL,
    used_at    timestamptz CHECK (used_at >= issued_at)
);
CREATE UNIQUE INDEX refresh_token_newest ON refresh_token (session_id) WHERE used_at IS NULL;
CREATE INDEX refresh_token_session ON refresh_token (session_id);
CREATE INDEX refresh_token_issued_at ON refresh_token (issued_at);
CREATE TABLE sms_budget (
    day        date    PRIMARY KEY,
    sent_count integer NOT NULL CHECK (sent_count >= 0)
)
"""


def upgrade() -> None:
    create_messaging_tables(op)
    for statement in TABLES.split(";"):
        op.execute(statement)
