"""The tables that every service has for messaging; its own first migration creates them.

The functions here are frozen once released: a change is a new function and a new migration.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol


class Operations(Protocol):
    """The part of alembic's `op` that is used here."""

    def execute(self, statement: str) -> None: ...


# created_at is in the primary key because a partitioned table demands it.
OUTBOX = """
CREATE SEQUENCE outbox_id_seq;
CREATE TABLE outbox (
    id         bigint      NOT NULL DEFAULT nextval('outbox_id_seq'),
    created_at timestamptz NOT NULL DEFAULT now(),
    event_id   uuid        NOT NULL,
    topic      text        NOT NULL CHECK (topic <> ''),
    key        text        NOT NULL CHECK (key <> ''),
    headers    text        NOT NULL,
    body       bytea       NOT NULL CHECK (octet_length(body) <= 65536),
    sent_at    timestamptz,
    resend_at  timestamptz,
    PRIMARY KEY (created_at, id)
) PARTITION BY RANGE (created_at);
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
CREATE INDEX outbox_resend ON outbox (id) WHERE resend_at IS NOT NULL;
CREATE INDEX outbox_event_id ON outbox (event_id);
CREATE TABLE outbox_rest PARTITION OF outbox DEFAULT;
CREATE TABLE relay_lease (
    one   boolean     PRIMARY KEY DEFAULT true CHECK (one),
    owner uuid        NOT NULL,
    until timestamptz NOT NULL
)
"""

INBOX = """
CREATE TABLE inbox (
    consumer   text        NOT NULL,
    event_id   uuid        NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_claimed_at ON inbox USING brin (claimed_at);
CREATE TABLE position (
    consumer    text        NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL CHECK (partition >= 0),
    next_offset bigint      NOT NULL CHECK (next_offset >= 0),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, topic, partition)
)
"""

# A record without a readable event id is known by its place in the log.
DEAD_LETTERS = """
CREATE TABLE dead_letter (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer    text        NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    key         bytea,
    event_id    uuid,
    event_type  text,
    headers     bytea       NOT NULL,
    body        bytea,
    status      text        NOT NULL CHECK (status IN ('poison', 'held', 'replayed', 'discarded')),
    error_kind  text        NOT NULL,
    error       text        NOT NULL,
    try_count   integer     NOT NULL,
    parked_at   timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    CHECK ((resolved_at IS NULL) = (status IN ('poison', 'held')))
);
CREATE UNIQUE INDEX dead_letter_event ON dead_letter (consumer, event_id)
    WHERE event_id IS NOT NULL;
CREATE UNIQUE INDEX dead_letter_place ON dead_letter (consumer, topic, partition, "offset")
    WHERE event_id IS NULL;
CREATE INDEX dead_letter_open ON dead_letter (consumer, topic, key, id)
    WHERE resolved_at IS NULL;
CREATE TABLE blocked_key (
    consumer   text        NOT NULL,
    topic      text        NOT NULL,
    key        bytea       NOT NULL,
    blocked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, topic, key)
);
CREATE TABLE operator_item (
    id        uuid        PRIMARY KEY,
    kind      text        NOT NULL,
    reference text        NOT NULL,
    detail    text        NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz
);
CREATE UNIQUE INDEX operator_item_open ON operator_item (kind, reference)
    WHERE closed_at IS NULL
"""

IDEMPOTENCY_KEYS = """
CREATE TABLE idempotency_key (
    subject      text        NOT NULL,
    operation    text        NOT NULL,
    key          text        NOT NULL,
    request_hash bytea       NOT NULL,
    status       smallint    NOT NULL,
    headers      text        NOT NULL,
    body         bytea       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject, operation, key)
);
CREATE INDEX idempotency_key_created_at ON idempotency_key (created_at)
"""


# A handful of rows that every batch writes again: room beside each on its page, and vacuum after a
# number of changes rather than a share of the table, without pausing in between.
REWRITTEN = """
ALTER TABLE position SET (fillfactor = 25, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE relay_lease SET (fillfactor = 25, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE outbox_rest SET (autovacuum_vacuum_scale_factor = 0.02)
"""


# Half of an outbox row's life is an update, and the index of unsent rows is read all the time; how
# its values are spread decides no plan.
OUTBOX_STORAGE = "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.5"


def make_room(op: Operations, fill_factors: Mapping[str, int]) -> None:
    """Storage settings of what is written again and again; changes no row and no column.

    `fill_factors`: table → how full, in percent, its pages may become by inserts.
    """
    for statement in REWRITTEN.split(";"):
        op.execute(statement)
    for table, percent in fill_factors.items():
        op.execute(
            f"ALTER TABLE {table} SET (fillfactor = {percent},"
            " autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)"
        )


# Times 300 rows: a look at 3,000 costs a tenth of one at 30,000, PostgreSQL's default.
STATISTICS_TARGET = 10


def take_small_samples(op: Operations, tables: Sequence[str]) -> None:
    """Let automatic ANALYZE look at fewer rows of `tables`; changes no row and locks out nobody.

    Tables that are written all the time are analysed once a minute while they are young. Every
    statement here finds its rows by an index, for which a rough picture is enough.
    """
    for table in tables:
        op.execute(
            f"""
            DO $$ DECLARE column_name name; BEGIN
                FOR column_name IN SELECT attname FROM pg_attribute
                    WHERE attrelid = CAST('{table}' AS regclass) AND attnum > 0 AND NOT attisdropped
                LOOP EXECUTE format('ALTER TABLE {table} ALTER COLUMN %I SET STATISTICS '
                    '{STATISTICS_TARGET}', column_name); END LOOP;
            END $$
            """
        )


# What waits is a narrow row of its own, deleted when it was sent: the wide row is written once.
QUEUE = (
    "CREATE TABLE outbox_queue (id bigint PRIMARY KEY, created_at timestamptz NOT NULL) WITH"
    " (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,"
    " autovacuum_vacuum_cost_delay = 0)",
    # Before anything else is locked: nobody writes to the outbox until the end of this.
    "LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE",
    "INSERT INTO outbox_queue SELECT id, created_at FROM outbox WHERE sent_at IS NULL",
    "UPDATE outbox SET sent_at = created_at WHERE sent_at IS NULL",
    "DROP INDEX outbox_unsent",
    # Processes of the revision before know no queue: what they write is queued for them.
    """
    CREATE FUNCTION queue_for_older_writers() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO outbox_queue (id, created_at) VALUES (NEW.id, NEW.created_at);
        NEW.sent_at := NEW.created_at;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER queue_for_older_writers BEFORE INSERT ON outbox FOR EACH ROW"
    " WHEN (NEW.sent_at IS NULL) EXECUTE FUNCTION queue_for_older_writers()",
    # Their relays find nothing to send and would renew their lease: it is somebody else's for ever.
    "CREATE TABLE relay_turn (one boolean PRIMARY KEY DEFAULT true CHECK (one),"
    " owner uuid NOT NULL, until timestamptz NOT NULL) WITH (fillfactor = 25,"
    " autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,"
    " autovacuum_vacuum_cost_delay = 0)",
    # Who holds the old lease may send until it runs out; until then nobody else begins.
    "INSERT INTO relay_turn (owner, until) SELECT owner, until FROM relay_lease",
    "UPDATE relay_lease SET owner = gen_random_uuid(), until = '9999-12-31Z'",
    "INSERT INTO relay_lease (owner, until) VALUES (gen_random_uuid(), '9999-12-31Z')"
    " ON CONFLICT (one) DO NOTHING",
)


def queue_unsent(op: Operations) -> None:
    """Keep what is unsent in `outbox_queue`; processes of the revision before run on beside it.

    They write as ever and send nothing any more, so the first new relay should follow soon.
    """
    for statement in QUEUE:
        op.execute(statement)


def create_messaging_tables(op: Operations) -> None:
    """Create outbox, relay lease, inbox, positions, dead letters, items and stored answers."""
    for script in (OUTBOX, INBOX, DEAD_LETTERS, IDEMPOTENCY_KEYS):
        for statement in script.split(";"):
            op.execute(statement)
