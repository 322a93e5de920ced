"""steps of the clustering with a round.

Revision: 0002, follows 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rounds stored before had no clusters that grow.
    op.add_column("rounds", sa.Column("merges", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("rounds", "merges")
