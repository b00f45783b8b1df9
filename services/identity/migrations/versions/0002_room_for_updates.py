"""Room for rows that are updated soon after they were written.

Only storage settings: processes of the revision before keep running beside it.
"""

from alembic import op

from shared.runtime.messaging.tables import make_room

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    make_room(op, {"session": 80})
