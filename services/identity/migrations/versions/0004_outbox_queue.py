"""What is unsent waits in a narrow table of its own: an event's row is written once.

Processes of the revision before keep running beside it; what they write is queued for them.
"""

from alembic import op

from shared.runtime.messaging.tables import queue_unsent

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    queue_unsent(op)
