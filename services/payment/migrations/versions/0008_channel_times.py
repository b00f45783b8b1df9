"""From when to when only the channel could act, for whoever measures how slow it is.

Only adds: processes of the revision before keep running beside it, and leave both empty.
"""

from alembic import op

from shared.runtime.messaging.tables import take_small_samples

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE payment_order ADD COLUMN channel_asked_at timestamptz,"
        " ADD COLUMN channel_confirmed_at timestamptz"
    )
    take_small_samples(op, ("payment_order",))
