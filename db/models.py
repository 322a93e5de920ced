"""Tables: runs (which are also the queue), their rounds and events, and the workers alive."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from meshtune.db.columns import Instant, Number, Word
from meshtune.engine.records import ENDED, RunStatus


class Wanted(StrEnum):
    """What a person asks of a run; its worker obeys."""

    RUN = "run"
    PAUSE = "pause"  # and keep its place: it goes on when asked
    CANCEL = "cancel"


def _one_of(column: str, values: list[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class Base(DeclarativeBase):
    """Base of all tables; every constraint has a name, so that migrations can find it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it once
        float: Number(),
        datetime: Instant(),
        RunStatus: Word(RunStatus, RunStatus.FAILED),  # what has ended, no worker takes up
        Wanted: Word(Wanted, Wanted.RUN),
        dict[str, Any]: JSON(none_as_null=True),
        list[dict[str, Any]]: JSON(),
        dict[str, float]: JSON(),
    }


class Run(Base):
    """One experiment and, while it is queued or running, its place in the queue."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(_one_of("status", sorted(RunStatus)), name="status_known"),
        CheckConstraint(_one_of("wanted", sorted(Wanted)), name="wanted_known"),
        CheckConstraint(
            "(status = 'running') = (owner IS NOT NULL AND lease_until IS NOT NULL)",
            name="running_iff_claimed",
        ),
        CheckConstraint(
            f"({_one_of('status', sorted(ENDED))}) = (finished_at IS NOT NULL)",
            name="ended_iff_finished",
        ),
        CheckConstraint("rounds_done BETWEEN 0 AND rounds_total", name="rounds_in_range"),
        CheckConstraint("(rounds_done = 0) = (checkpoint IS NULL)", name="rounds_iff_checkpoint"),
        CheckConstraint("progress BETWEEN 0 AND 1", name="progress_is_share"),
        Index("ix_runs_queue", "status", "priority", "id"),
        {"sqlite_autoincrement": True},  # the number of a run is never given twice
    )

    id: Mapped[int] = mapped_column(primary_key=True)

    # What it is; the first columns repeat the config so that lists need not parse it.
    name: Mapped[str] = mapped_column(String(80))
    method: Mapped[str] = mapped_column(String(40))
    seed: Mapped[int] = mapped_column(BigInteger)
    devices: Mapped[int]
    rounds_total: Mapped[int]
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    config_sha256: Mapped[str] = mapped_column(String(64), index=True)
    provenance: Mapped[dict[str, Any] | None]
    note: Mapped[str | None] = mapped_column(Text)  # of people, for people
    cloned_from: Mapped[int | None]  # no foreign key: that run may be purged, this one stays

    # Where it stands.
    status: Mapped[RunStatus]
    wanted: Mapped[Wanted] = mapped_column(default=Wanted.RUN)
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]  # hidden since; purged a day later

    # Queue and lease. Seconds since 1970 by the clock of the database.
    priority: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float] = mapped_column(default=0.0)
    owner: Mapped[str | None] = mapped_column(String(200))
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_until: Mapped[float | None]
    attempt: Mapped[int] = mapped_column(default=0)  # claims since the last finished round

    # What is done: `rounds_done` rounds are stored and `checkpoint` holds the state after them.
    rounds_done: Mapped[int] = mapped_column(default=0)
    checkpoint: Mapped[str | None] = mapped_column(String(200))
    progress: Mapped[float] = mapped_column(default=0.0)
    accuracy_own: Mapped[float | None]
    accuracy_all: Mapped[float | None]
    sent_bits: Mapped[int] = mapped_column(BigInteger, default=0)
    airtime_s: Mapped[float] = mapped_column(default=0.0)
    energy_j: Mapped[float] = mapped_column(default=0.0)


ROUND_TOTALS = (
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
)


class Round(Base):
    """One finished round: totals in columns, lists as JSON because a round is read whole."""

    __tablename__ = "rounds"
    # Totals of many runs at once are read from this index alone. The rows lie far apart, because
    # of their lists: 20 runs x 500 rounds took 0.85 s from the disk, and 0.06 s from here.
    __table_args__ = (Index("ix_rounds_totals", *ROUND_TOTALS),)

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    round_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    fence: Mapped[int] = mapped_column(BigInteger)  # under which claim it was stored
    train_loss: Mapped[float]
    accuracy_own: Mapped[float | None]
    accuracy_all: Mapped[float | None]
    consensus_distance: Mapped[float]
    delivered_fraction: Mapped[float | None]
    sent_bits: Mapped[int] = mapped_column(BigInteger)
    airtime_s: Mapped[float]
    energy_j: Mapped[float]
    receive_j: Mapped[float] = mapped_column(server_default="0")
    compute_j: Mapped[float] = mapped_column(server_default="0")
    round_s: Mapped[float | None]
    wall_s: Mapped[float]
    devices: Mapped[list[dict[str, Any]]]
    scores: Mapped[list[dict[str, Any]]]
    links: Mapped[list[dict[str, Any]]]
    extra: Mapped[dict[str, float]]
    merges: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    layers: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    routes: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")


class RoundCurve(Base):
    """What curves need of the scores of an evaluated round, in a row that is short.

    The scores themselves are lists in `rounds`: 20 runs x 500 rounds of them are 25 MB of JSON for
    a small fleet and 400 MB for a large one. It goes with its round.
    """

    __tablename__ = "round_curves"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "round_index"],
            ["rounds.run_id", "rounds.round_index"],
            name="fk_round_curves_run_id_rounds",
            ondelete="CASCADE",
        ),
        {"sqlite_with_rowid": False},  # the rows of a run lie side by side
    )

    run_id: Mapped[int] = mapped_column(primary_key=True)
    round_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    own: Mapped[list[float | None]] = mapped_column(JSON())  # per device, on its own task
    tasks: Mapped[dict[str, list[float | None]]] = mapped_column(JSON())  # of its devices, of all
    own_before_exchange: Mapped[float | None]


class RunEvent(Base):
    """Something that happened to a run; never changed, so it is the audit trail."""

    __tablename__ = "run_events"
    __table_args__ = (
        Index("ix_run_events_run_id_id", "run_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(24))
    actor: Mapped[str] = mapped_column(String(200))
    fence: Mapped[int] = mapped_column(BigInteger)
    detail: Mapped[str | None] = mapped_column(Text)


class Worker(Base):
    """A worker process that gave a sign of life."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    slots: Mapped[int]
    started_at: Mapped[datetime]
    seen_until: Mapped[float]  # clock of the database, like a lease
