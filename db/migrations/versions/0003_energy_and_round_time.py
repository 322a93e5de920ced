"""receive and compute energy, and the time of the slowest path, with a round.

Revision: 0003, follows 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rounds stored before counted transmit energy only, and did not know the slowest path.
    for name in ("receive_j", "compute_j"):
        op.add_column("rounds", sa.Column(name, sa.Double(), nullable=False, server_default="0"))
    op.add_column("rounds", sa.Column("round_s", sa.Double(), nullable=True))


def downgrade() -> None:
    for name in ("round_s", "compute_j", "receive_j"):
        op.drop_column("rounds", name)
