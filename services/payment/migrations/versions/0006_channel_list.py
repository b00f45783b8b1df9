"""What was last announced of the channels, and its version.

Only adds: processes of the revision before keep running beside it.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CHANNEL_LIST = """
CREATE TABLE channel_list (
    id              uuid        PRIMARY KEY,
    version         bigint      NOT NULL CHECK (version > 0),
    default_channel text        NOT NULL,
    offers          jsonb       NOT NULL,
    announced_at    timestamptz NOT NULL
)
"""


def upgrade() -> None:
    op.execute(CHANNEL_LIST)
