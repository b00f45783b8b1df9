"""A refresh token that was replaced because the answer that held it seemed lost.

Only a new column: processes of the revision before keep running beside it, and end the session
where such a token is shown.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE refresh_token ADD COLUMN voided_at timestamptz")
