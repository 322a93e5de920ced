"""What a run leaves behind: its status and, per round, what was learned and what it cost."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from meshtune.engine import quantities as words
from meshtune.engine.config import TaskName


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker holds its lease
    PAUSED = "paused"  # a person halted it; it goes on after its last finished round when asked
    COMPLETED = "completed"  # all rounds are stored
    DIVERGED = "diverged"  # numbers left the finite range; finite rounds are kept
    CANCELLED = "cancelled"  # a person stopped it; stored rounds are kept
    FAILED = "failed"  # an error that is not the run's own, with a reason


LEGAL_MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.CANCELLED}),
    RunStatus.RUNNING: frozenset(
        {
            RunStatus.QUEUED,  # given back by its worker, or its lease ran out
            RunStatus.PAUSED,
            RunStatus.COMPLETED,
            RunStatus.DIVERGED,
            RunStatus.CANCELLED,
            RunStatus.FAILED,
        }
    ),
    RunStatus.PAUSED: frozenset({RunStatus.QUEUED, RunStatus.CANCELLED}),
    RunStatus.COMPLETED: frozenset(),
    RunStatus.DIVERGED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
    RunStatus.FAILED: frozenset({RunStatus.QUEUED}),  # tried again after its last finished round
}
ENDED = frozenset({RunStatus.COMPLETED, RunStatus.DIVERGED, RunStatus.CANCELLED, RunStatus.FAILED})

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Record(BaseModel):
    """Base of stored values: immutable, strict."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DeviceRecord(Record):
    """One device in one round."""

    device: int
    task: TaskName
    x_m: float
    y_m: float
    cluster: int = Field(0, ge=0, description="Number of its cluster; 0 in a mesh without")
    train_loss: float = Field(description="Mean loss over the local steps, nats per token")
    sent_bits: int = Field(
        ge=0, title=words.BITS_SENT.word, description="Put on air, over all its links"
    )
    airtime_s: float = Field(ge=0.0, title=words.AIRTIME.word, description="Time it was on air")
    energy_j: float = Field(ge=0.0, title=words.TRANSMIT.word, description="Of all its tries")
    receive_j: float = Field(
        0.0, ge=0.0, title=words.RECEIVE.word, description="Of its receiver's electronics"
    )
    compute_s: float = Field(0.0, ge=0.0, description="Time its hardware needs to train")
    compute_j: float = Field(
        0.0, ge=0.0, title=words.COMPUTE.word, description="What its hardware needs to train"
    )
    present: bool = Field(True, description="Within reach; an absent device trains on alone")
    mixture: dict[TaskName, Fraction] = Field(
        default_factory=dict,
        exclude_if=lambda shares: not shares,
        description="Share of every task in what it holds; left out where that is one task",
    )

    @property
    def shares(self) -> dict[TaskName, float]:
        """Share of every task that it holds."""
        return self.mixture or {self.task: 1.0}


class ScoreRecord(Record):
    """One device on one task, on unseen samples, after the exchange of the round."""

    device: int
    task: TaskName
    accuracy: Fraction
    loss: float = Field(description="Mean loss of the true answer, nats per token")


class LinkRecord(Record):
    """One message: `sender` to `receiver`."""

    receiver: int
    sender: int
    payload_bits: int = Field(ge=0)
    snr_db: float | None = Field(
        description="With interference, in this round; None if ideal or without signal"
    )
    rate_bit_s: float | None = Field(description="While on air; None if ideal")
    airtime_s: float = Field(ge=0.0, title=words.AIRTIME.word, description="All tries together")
    energy_j: float = Field(ge=0.0, title=words.TRANSMIT.word, description="All tries together")
    delivered: bool


class MergeRecord(Record):
    """One step of the clustering: `left` and `right` became one cluster."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    collision: Fraction = Field(description="Collision rate of the new cluster")
    power_w: float = Field(ge=0.0, description="Largest power that a member needs to reach all")


class LayerRecord(Record):
    """How much of one module the masks of a method let train; mean over devices."""

    module: str
    density: Fraction = Field(description="Share of the entries of B that exist")
    entropy: float | None = Field(
        description="Spectral entropy of its input, nats; None unless the density follows it"
    )


class RouteRecord(Record):
    """Which experts the gate preferred for the questions of one task."""

    asked: TaskName
    expert: TaskName
    share: Fraction = Field(description="Of decisions; over all tasks of experts they sum to 1")


class RoundRecord(Record):
    """Everything that one round is remembered by. Round indices start at 0."""

    round_index: int = Field(ge=0)
    train_loss: float = Field(description="Mean over devices, nats per token")
    accuracy_own: Fraction | None = Field(
        title=words.OWN_TASK.word, description=words.OWN_TASK.meaning
    )
    accuracy_all: Fraction | None = Field(
        title=words.ALL_TASKS.word, description=words.ALL_TASKS.meaning
    )
    consensus_distance: float = Field(
        ge=0.0, description="Mean over devices of the Frobenius distance to the mean adapter"
    )
    delivered_fraction: Fraction | None = Field(description="None if nothing was sent")
    sent_bits: int = Field(ge=0, title=words.BITS_SENT.word, description=words.BITS_SENT.meaning)
    airtime_s: float = Field(
        ge=0.0,
        title=words.AIRTIME.word,
        description="Longest message of each slot; slots and hops add up",
    )
    energy_j: float = Field(ge=0.0, title=words.TRANSMIT.word, description=words.TRANSMIT.meaning)
    receive_j: float = Field(
        0.0, ge=0.0, title=words.RECEIVE.word, description=words.RECEIVE.meaning
    )
    compute_j: float = Field(
        0.0, ge=0.0, title=words.COMPUTE.word, description=words.COMPUTE.meaning
    )
    round_s: float | None = Field(
        None,
        title=words.ROUND_TIME.word,
        description="Slowest path: compute, wait, send; None in runs of older versions",
    )
    devices: tuple[DeviceRecord, ...]
    scores: tuple[ScoreRecord, ...] = Field(description="Empty in a round without evaluation")
    links: tuple[LinkRecord, ...]
    merges: tuple[MergeRecord, ...] = Field(
        (), description="How the clusters came about, in order; empty if they are as before"
    )
    layers: tuple[LayerRecord, ...] = Field(
        (), description="Of the first round; empty for methods without masks"
    )
    routes: tuple[RouteRecord, ...] = Field(
        (), description="Empty without evaluation, and unless a gate ranks experts of several tasks"
    )
    extra: dict[str, float] = Field(
        default_factory=dict, description="Diagnostics of the method, named in docs/metrics.md"
    )
    wall_s: float = Field(
        ge=0.0,
        title=words.MACHINE_TIME.word,
        description="What this round took here; differs between runs",
    )


class Provenance(Record):
    """What else one must know to get the same numbers again."""

    meshtune: str
    python: str
    torch: str
    transformers: str
    platform: str
    threads: int
    precision: str
    commit: str | None
    dirty: bool | None
    # Not known of runs of older versions.
    peft: str | None = None
    numpy: str | None = None
    scipy: str | None = None
    device: str | None = None
    weights_sha256: str | None = None
    # Left out where it says nothing, so that an older Meshtune reads the others.
    start_sha256: str | None = Field(None, exclude_if=lambda found: found is None)
    data_sha256: dict[TaskName, str] = Field(default_factory=dict, exclude_if=lambda held: not held)
