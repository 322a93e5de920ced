"""what curves need of the scores of a round, in a short row.

Revision: 0007, follows 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rounds stored before have no row here; db/curves.py reads their scores instead.
    op.create_table(
        "round_curves",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("round_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("own", sa.JSON(), nullable=False),
        sa.Column("tasks", sa.JSON(), nullable=False),
        sa.Column("own_before_exchange", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "round_index"],
            ["rounds.run_id", "rounds.round_index"],
            name=op.f("fk_round_curves_run_id_rounds"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "round_index", name=op.f("pk_round_curves")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("round_curves")
