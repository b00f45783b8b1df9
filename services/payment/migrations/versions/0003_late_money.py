"""When an attempt ended, and which of those that ended are still asked about.

Only adds: processes of the revision before keep running beside it, and ask about none of them.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Empty when it is made: one look at each attempt, during which no other is written.
LATE_MONEY = """
ALTER TABLE payment_attempt ADD COLUMN ended_at timestamptz;
CREATE INDEX payment_attempt_late ON payment_attempt (due_at)
    WHERE status IN ('DECLINED', 'CLOSED') AND due_at IS NOT NULL
"""


def upgrade() -> None:
    for statement in LATE_MONEY.split(";"):
        op.execute(statement)
