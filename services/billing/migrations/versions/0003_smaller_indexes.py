"""Unique where there is something to be unique: most contributions supersede nothing.

Each move of a contribution wrote an entry for "nothing" into both indexes. The new ones are built
before the old ones go, so that no moment is without them; processes of the revision before keep
running beside it. Building them holds up writers of the table for one look at each of its rows.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SMALLER = """
CREATE UNIQUE INDEX contribution_supersedes ON contribution (supersedes)
    WHERE supersedes IS NOT NULL;
CREATE UNIQUE INDEX contribution_paid_by ON contribution (paid_by_attempt_id)
    WHERE paid_by_attempt_id IS NOT NULL;
ALTER TABLE contribution DROP CONSTRAINT contribution_supersedes_key;
ALTER TABLE contribution DROP CONSTRAINT contribution_paid_by_attempt_id_key
"""


def upgrade() -> None:
    for statement in SMALLER.split(";"):
        op.execute(statement)
