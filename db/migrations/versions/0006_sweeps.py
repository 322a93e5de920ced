"""sweeps, and the run that answers each of their cells.

Revision: 0006, follows 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("spec", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("stopped_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sweep_cells",
        sa.Column("sweep_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("values", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        # A run that was deleted for good leaves its cell behind, without a run.
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sweep_id"], ["sweeps.id"], name=op.f("fk_sweep_cells_sweep_id_sweeps")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["runs.id"],
            name=op.f("fk_sweep_cells_run_id_runs"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("sweep_id", "position", name=op.f("pk_sweep_cells")),
    )
    op.create_index("ix_sweep_cells_run_id", "sweep_cells", ["run_id"])


def downgrade() -> None:
    op.drop_table("sweep_cells")
    op.drop_table("sweeps")
