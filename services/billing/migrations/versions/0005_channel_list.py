"""What payment announced of its channels, and with which sequence.

Only adds: processes of the revision before keep running beside it.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CHANNEL_LIST = """
CREATE TABLE channel_list (
    id              uuid        PRIMARY KEY,
    sequence        bigint      NOT NULL,
    default_channel text        NOT NULL,
    offers          jsonb       NOT NULL,
    announced_at    timestamptz NOT NULL
)
"""


def upgrade() -> None:
    op.execute(CHANNEL_LIST)
