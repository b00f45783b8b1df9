"""The sandbox's own books, as the checker reads them: from its file, also while it is down."""

import sqlite3
from pathlib import Path
from uuid import UUID

from sandbox.book import FILE_NAME
from testing.checker import Books, Charge

# Identity's codes are no notifications; their templates are registered under this name.
CODE_TEMPLATES = "login_code%"


def sandbox_books(data_dir: Path) -> Books:
    """Everything that the sandbox in this folder charged and sent so far."""
    connection = sqlite3.connect(f"file:{data_dir / FILE_NAME}?mode=ro", uri=True, timeout=5)
    try:
        charges = connection.execute(
            "SELECT attempt_id, amount_fen FROM charge WHERE status = 'succeeded'"
            " UNION ALL SELECT out_trade_no, paid_fen FROM trade WHERE paid_at IS NOT NULL"
        ).fetchall()
        messages = connection.execute(
            "SELECT reference FROM message WHERE template NOT LIKE ?", (CODE_TEMPLATES,)
        ).fetchall()
    finally:
        connection.close()
    return Books(
        charges=[Charge(UUID(attempt_id), amount_fen) for attempt_id, amount_fen in charges],
        sms=[UUID(reference) for (reference,) in messages],
    )
