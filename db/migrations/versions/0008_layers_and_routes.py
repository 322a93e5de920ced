"""density of each layer and which experts the gate preferred, per round.

Revision: 0008, follows 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rounds", sa.Column("layers", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("rounds", sa.Column("routes", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("rounds", "routes")
    op.drop_column("rounds", "layers")
