"""The values of a plan: what a config will mean before it runs.

Apart from `meshtune.engine.planning`, which computes them, so that whoever only shows a plan loads
no radio.
"""

from pydantic import BaseModel, ConfigDict, Field

from meshtune.engine import config as c, quantities as words


class PlanPart(BaseModel):
    """Base of the values of a plan: immutable, strict."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedDevice(PlanPart):
    """One device on the map."""

    x_m: float
    y_m: float
    task: c.TaskName
    # Share of every task in what it holds; nothing where that is one task.
    mixture: dict[c.TaskName, float] = Field(default_factory=dict, exclude_if=lambda held: not held)


class PlannedLink(PlanPart):
    """One direction of a link: `sender` to `receiver`, all neighbours being sent to at once."""

    receiver: int
    sender: int
    distance_m: float
    mean_snr_db: float | None = Field(description="At the mean gain; None if ideal")
    mean_rate_bit_s: float | None = Field(description="Mean over fading; None if ideal")
    outage_prob: float | None = Field(
        description="Probability that a message misses the deadline; None without a payload"
    )


class PlannedMerge(PlanPart):
    """One step of the clustering: the devices of `left` and of `right` became one cluster."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    collision: float = Field(description="Collision rate of the merged cluster, 0 to 1")
    power_w: float = Field(description="What its neediest member spends to reach all others")


class Spread(PlanPart):
    """Tenth, fiftieth and ninetieth percentile over the links."""

    low: float
    median: float
    high: float


class GraphFacts(PlanPart):
    """What the links say about how fast averaging agrees."""

    degree_min: int
    degree_mean: float
    degree_max: int
    components: int = Field(description="Parts without a link between them; 1 is connected")
    diameter: int | None = Field(description="Hops between the two farthest; None if cut")
    spectral_gap: float = Field(description="1 - second largest eigenvalue of the mixing weights")
    algebraic_connectivity: float = Field(description="Second smallest eigenvalue of the Laplacian")


class Cost(PlanPart):
    """What a round, or a whole run, costs; expected values."""

    parameters_sent: float = Field(description="Values of adapters on air: what the paper counts")
    payload_bits: float = Field(
        title=words.BITS_SENT.word,
        description="Bits on air, places, first contact and copies included",
    )
    airtime_s: float = Field(title=words.AIRTIME.word)
    bandwidth_time_hz_s: float
    transmit_j: float = Field(title=words.TRANSMIT.word)
    receive_j: float = Field(title=words.RECEIVE.word)
    compute_j: float = Field(title=words.COMPUTE.word)
    compute_s: float = Field(description="Of the slowest device")
    round_s: float = Field(
        title=words.ROUND_TIME.word, description="Slowest path: compute, wait, send"
    )
    delivered_fraction: float | None


class PlannedMemory(PlanPart):
    """Bytes that the run takes on this machine, about; the process is in the total alone."""

    weights: float
    adapters: float
    moments: float
    activations: float = Field(description="Of the groups that train at once")
    total: float


class PlanNote(PlanPart):
    """Something that a config asks for and the run will not do; the run is not refused for it."""

    field: str
    sentence: str


class Plan(PlanPart):
    """What a config will mean before it runs. Nothing trains to know it."""

    devices: tuple[PlannedDevice, ...]
    links: tuple[PlannedLink, ...]
    clusters: tuple[int, ...] = Field(description="Cluster of each device; 0 without clusters")
    merges: tuple[PlannedMerge, ...] = Field(
        description="Steps from single devices to the clusters, in order; none if drawn otherwise"
    )
    snr_db: Spread | None = Field(description="Mean SNR of the links; None if ideal")
    rate_bit_s: Spread | None
    outage_prob: Spread | None
    graph: GraphFacts
    collision: float | None = Field(description="Eq. 19, mean over clusters; None without masks")
    first_round: Cost
    later_round: Cost = Field(description="Mean over the rounds after the first")
    total: Cost
    plain_lora: Cost = Field(description="The whole run with plain LoRA on the same mesh")
    saving_fraction: float | None = Field(
        description="Payload saved against plain LoRA; negative if it costs more; None if no bits"
    )
    rounds_sampled: int = Field(description="Rounds that were played on air to know the means")
    wall_s: float = Field(
        title=words.MACHINE_TIME.word, description="How long the run will take on this machine"
    )
    memory: PlannedMemory | None = Field(
        None, description="How much memory the run will take here; None of older plans"
    )
    notes: tuple[PlanNote, ...] = Field(
        (), description="What the config asks for and the run will not do"
    )
