"""What was failed is remembered too: an SMS that says "still checking" is stale after it.

The column has a default, so processes of the revision before keep running beside it. What failed
earlier needs no value: nobody was told of a delay then.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE payment_order ADD COLUMN failed boolean NOT NULL DEFAULT false")
