"""The sandbox's memory in SQLite: every call is one short transaction on the event loop.

A commit is there after a restart and after SIGKILL (WAL); a power cut may cost the last ones.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    reference   TEXT NOT NULL,
    copy        INTEGER NOT NULL CHECK (copy IN (1, 2)),
    phone       TEXT NOT NULL,
    template    TEXT NOT NULL,
    variables   TEXT NOT NULL,
    text        TEXT NOT NULL,
    sent_at     TEXT NOT NULL,
    settles_at  TEXT NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome IN ('delivered', 'undeliverable')),
    reason      TEXT,
    UNIQUE (reference, copy)
) STRICT;
CREATE INDEX IF NOT EXISTS message_by_phone ON message (phone, seq);

CREATE TABLE IF NOT EXISTS charge (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt_id      TEXT NOT NULL,
    copy            INTEGER NOT NULL CHECK (copy IN (1, 2)),
    trade_no        TEXT NOT NULL UNIQUE,
    amount_fen      INTEGER NOT NULL CHECK (amount_fen > 0),
    currency        TEXT NOT NULL,
    payer_reference TEXT NOT NULL,
    description     TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('succeeded', 'declined')),
    reason          TEXT,
    charged_at      TEXT NOT NULL,
    UNIQUE (attempt_id, copy)
) STRICT;

-- Apart from the charge, because a request may come to nothing.
CREATE TABLE IF NOT EXISTS charge_request (
    attempt_id    TEXT PRIMARY KEY,
    request_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A debit that the bank has accepted and not settled yet; the time decides, not a timer.
CREATE TABLE IF NOT EXISTS unsettled_debit (
    attempt_id TEXT PRIMARY KEY,
    settles_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS trade (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    channel         TEXT NOT NULL CHECK (channel IN ('alipay', 'wechatpay')),
    out_trade_no    TEXT NOT NULL,
    method          TEXT NOT NULL,
    token           TEXT NOT NULL UNIQUE,
    trade_no        TEXT NOT NULL UNIQUE,
    amount_fen      INTEGER NOT NULL CHECK (amount_fen > 0),
    description     TEXT NOT NULL,
    notify_url      TEXT NOT NULL,
    return_url      TEXT NOT NULL,
    passed_back     TEXT NOT NULL,
    payer           TEXT NOT NULL,
    status          TEXT NOT NULL
        CHECK (status IN ('prepared', 'waiting', 'paid', 'finished', 'closed')),
    created_at      TEXT NOT NULL,
    expires_at      TEXT NOT NULL,
    link_expires_at TEXT NOT NULL,
    pays_late_at    TEXT,
    paid_at         TEXT,
    paid_fen        INTEGER,
    closed_at       TEXT,
    UNIQUE (channel, out_trade_no)
) STRICT;
CREATE INDEX IF NOT EXISTS trade_open ON trade (expires_at) WHERE status = 'waiting';
CREATE INDEX IF NOT EXISTS trade_late ON trade (pays_late_at) WHERE pays_late_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS notification (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    notification_id TEXT NOT NULL UNIQUE,
    trade_seq       INTEGER NOT NULL,
    event           TEXT NOT NULL CHECK (event IN ('paid', 'finished', 'closed')),
    copies          INTEGER NOT NULL,
    sent_count      INTEGER NOT NULL DEFAULT 0,
    due_at          TEXT,
    accepted_at     TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS notification_due ON notification (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS notification_by_trade ON notification (trade_seq);

CREATE TABLE IF NOT EXISTS notification_answer (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT,
    notification_seq INTEGER NOT NULL,
    sent_at          TEXT NOT NULL,
    lies             TEXT NOT NULL,
    status           INTEGER,
    body             TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS answer_by_notification ON notification_answer (notification_seq);

CREATE TABLE IF NOT EXISTS fault (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    target      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    on_call     TEXT NOT NULL,
    order_no    TEXT,
    count       INTEGER,
    delay_ms    INTEGER NOT NULL,
    times       INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    rate        REAL NOT NULL,
    seen_count  INTEGER NOT NULL DEFAULT 0,
    fired_count INTEGER NOT NULL DEFAULT 0
) STRICT;
"""
TABLES = (
    "message",
    "charge",
    "charge_request",
    "unsettled_debit",
    "trade",
    "notification",
    "notification_answer",
    "fault",
)
# Counts the shapes that `fault` has had; its rows are not worth a migration.
VERSION = 2
FILE_NAME = "sandbox.sqlite3"

Value = str | int | float | None


class Book:
    """One connection for the whole process; no method waits for anything but the disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside count together or not at all."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def execute(self, statement: str, **values: Value) -> int:
        """Run a change; returns the number of rows it touched."""
        return self._connection.execute(statement, values).rowcount

    def rows(self, statement: str, **values: Value) -> list[sqlite3.Row]:
        return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, **values: Value) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
        return found

    def page(
        self, selection: str, *, before: int | None, limit: int, **values: Value
    ) -> tuple[list[sqlite3.Row], str | None]:
        """The newest `limit` rows of a selection that has `seq`, newest last.

        The second value is the cursor to the rows before them, None where there are none.
        """
        found = self.rows(
            f"SELECT * FROM ({selection}) WHERE :before IS NULL OR seq < :before"
            " ORDER BY seq DESC LIMIT :limit + 1",
            before=before,
            limit=limit,
            **values,
        )
        page = found[:limit][::-1]
        return page, str(page[0]["seq"]) if len(found) > limit else None

    def reset(self) -> None:
        """Forget everything, numbering included, so that a run can be repeated exactly."""
        with self.transaction():
            for table in (*TABLES, "sqlite_sequence"):
                self.execute(f"DELETE FROM {table}")

    def close(self) -> None:
        self._connection.close()


def open_book(data_dir: Path) -> Book:
    """Open or create the book in `data_dir`. Raises OSError or sqlite3.Error where it cannot."""
    data_dir.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(data_dir / FILE_NAME, isolation_level=None, timeout=5)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        connection.execute("DROP TABLE IF EXISTS fault")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.executescript(SCHEMA)
    return Book(connection)
