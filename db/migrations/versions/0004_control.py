"""pause, notes, clones, delete with undo, and totals of many runs at once.

Revision: 0004, follows 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATUS_BEFORE = "status IN ('cancelled', 'completed', 'diverged', 'failed', 'queued', 'running')"
STATUS_AFTER = (
    "status IN ('cancelled', 'completed', 'diverged', 'failed', 'paused', 'queued', 'running')"
)
WANTED_BEFORE = "wanted IN ('cancel', 'run')"
WANTED_AFTER = "wanted IN ('cancel', 'pause', 'run')"
TOTALS = [
    "run_id",
    "round_index",
    "train_loss",
    "accuracy_own",
    "accuracy_all",
    "consensus_distance",
    "delivered_fraction",
    "sent_bits",
    "airtime_s",
    "energy_j",
    "receive_j",
    "compute_j",
    "round_s",
    "wall_s",
]


def upgrade() -> None:
    _replace_checks({STATUS_BEFORE: STATUS_AFTER, WANTED_BEFORE: WANTED_AFTER})
    op.add_column("runs", sa.Column("note", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("cloned_from", sa.Integer(), nullable=True))
    op.add_column("runs", sa.Column("deleted_at", sa.Double(), nullable=True))
    op.create_index("ix_rounds_totals", "rounds", TOTALS)


def downgrade() -> None:
    # What the older version does not know: a halted run waits, a deleted one is seen again.
    op.execute("UPDATE runs SET status = 'queued' WHERE status = 'paused'")
    op.execute("UPDATE runs SET wanted = 'run' WHERE wanted = 'pause'")
    op.drop_index("ix_rounds_totals", "rounds")
    for name in ("deleted_at", "cloned_from", "note"):
        op.drop_column("runs", name)
    _replace_checks({STATUS_AFTER: STATUS_BEFORE, WANTED_AFTER: WANTED_BEFORE})


def _replace_checks(swaps: dict[str, str]) -> None:
    if op.get_bind().dialect.name == "sqlite":
        _remake_runs(swaps)
        return
    for name, new in zip(("status_known", "wanted_known"), swaps.values(), strict=True):
        op.drop_constraint(op.f(f"ck_runs_{name}"), "runs", type_="check")
        op.create_check_constraint(op.f(f"ck_runs_{name}"), "runs", new)


def _remake_runs(swaps: dict[str, str]) -> None:
    """The same table with other checks, which SQLite cannot change in place.

    Rounds and events point to it, and foreign keys cannot be switched off inside a transaction;
    so they are only deferred, and the rows must be put into the table that has the name. (Copy
    first and rename later, as Alembic's batch mode does, leaves each reference counted as broken.)
    """
    bind = op.get_bind()
    found = bind.exec_driver_sql(
        "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'runs' AND sql IS NOT NULL"
    ).all()
    table = next(sql for kind, sql in found if kind == "table")
    for old, new in swaps.items():
        if old not in table:
            raise RuntimeError(f"the table runs has no check {old}")
        table = table.replace(old, new)
    for step in (
        "PRAGMA defer_foreign_keys=ON",
        "CREATE TABLE runs_before AS SELECT * FROM runs",
        "DROP TABLE runs",
        table,
        "INSERT INTO runs SELECT * FROM runs_before",
        "DROP TABLE runs_before",
        *(sql for kind, sql in found if kind == "index"),
    ):
        bind.exec_driver_sql(step)
