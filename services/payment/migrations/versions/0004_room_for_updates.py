"""Room for rows that are updated soon after they were written.

Only storage settings: processes of the revision before keep running beside it.
"""

from alembic import op

from shared.runtime.messaging.tables import make_room

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    make_room(op, {"payment_order": 80, "payment_attempt": 70})
