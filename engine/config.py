"""RunConfig: the one description of an experiment, shared by API, command line, form and database.

Every field carries its default, bounds, unit and help text; every checker of a config is here.
"""

import hashlib
import json
import math
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

TaskName = Literal[
    "reading",
    "entailment",
    "addition",
    "number_words",
    "expression",
    "list_result",
    "ending",
    "instruction",
]
TASK_NAMES: tuple[TaskName, ...] = get_args(TaskName)


def unit(symbol: str) -> dict[str, Any]:
    """Schema extra that tells forms and docs the unit of a number."""
    return {"unit": symbol}


OUR_CHOICE: dict[str, Any] = {"our_choice": True}  # the paper leaves this open; screens say so

Finite = Annotated[float, Field(allow_inf_nan=False)]
Metres = Annotated[Finite, Field(json_schema_extra=unit("m"))]
Hertz = Annotated[Finite, Field(json_schema_extra=unit("Hz"))]
DBm = Annotated[Finite, Field(json_schema_extra=unit("dBm"))]
Decibel = Annotated[Finite, Field(json_schema_extra=unit("dB"))]
Seconds = Annotated[Finite, Field(json_schema_extra=unit("s"))]


class Part(BaseModel):
    """Base of every branch of the tree: immutable, and strict about unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Fleet(Part):
    """Who takes part and what each device knows."""

    devices: int = Field(
        8,
        ge=1,
        le=256,
        title="Devices",
        description="Number of phones in the mesh. Training time grows in proportion.",
    )
    tasks: tuple[TaskName, ...] = Field(
        TASK_NAMES,
        min_length=1,
        max_length=256,
        title="Tasks",
        description="Tasks dealt to the devices in turn: device i gets entry i, starting over at "
        "the end. Name one task per device to paint them by hand.",
    )
    train_samples: int = Field(
        2000,
        ge=1,
        le=100_000,
        title="Training samples per device",
        description="How many samples each device holds of its own task. Few samples overfit.",
    )

    def task_of(self, device: int) -> TaskName:
        """Task that device number `device` holds."""
        return self.tasks[device % len(self.tasks)]

    def present_tasks(self) -> tuple[TaskName, ...]:
        """Tasks that at least one device holds, in the order of the catalogue."""
        held = {self.task_of(i) for i in range(self.devices)}
        return tuple(name for name in TASK_NAMES if name in held)


class Area(Part):
    """Base of topologies that place the devices in a disc."""

    radius_m: Metres = Field(
        100.0,
        gt=0,
        le=100_000,
        title="Radius",
        description="Radius of the disc that holds the devices. Larger means weaker links.",
    )


class Ring(Area):
    """Devices on a circle, each linked to its two neighbours."""

    kind: Literal["ring"] = "ring"


class Full(Area):
    """Devices at random places, every pair linked."""

    kind: Literal["full"] = "full"


class Star(Area):
    """Device 0 in the centre, linked to all others; the others only to it."""

    kind: Literal["star"] = "star"


class Geometric(Area):
    """Devices at random places, linked when closer than the range."""

    kind: Literal["geometric"] = "geometric"
    range_m: Metres = Field(
        80.0,
        gt=0,
        le=200_000,
        title="Link range",
        description="Devices closer than this are linked. Nearest neighbours are added where the "
        "mesh would fall apart.",
    )


class Clusters(Area):
    """Devices in groups: every pair linked inside, one gateway link between neighbouring groups."""

    kind: Literal["clusters"] = "clusters"
    clusters: int = Field(
        4,
        ge=1,
        le=64,
        title="Clusters",
        description="Number of groups. More groups mean fewer links and a slower spread.",
    )
    by: Literal["task", "place"] = Field(
        "task",
        title="Group by",
        description="Put devices of one task together (then the number of groups is the number of "
        "tasks), or deal them out regardless of task.",
    )


class Point(Part):
    """A place on the map."""

    x_m: Metres = Field(0.0, ge=-100_000, le=100_000, title="East")
    y_m: Metres = Field(0.0, ge=-100_000, le=100_000, title="North")


class Drawn(Part):
    """Positions and links as somebody drew them."""

    kind: Literal["drawn"] = "drawn"
    positions: tuple[Point, ...] = Field(
        (Point(x_m=0, y_m=0), Point(x_m=30, y_m=0)),
        min_length=1,
        max_length=256,
        title="Positions",
        description="One place per device, in metres.",
    )
    links: tuple[tuple[int, int], ...] = Field(
        ((0, 1),),
        title="Links",
        description="Pairs of devices that may talk, in both directions.",
    )

    @model_validator(mode="after")
    def _drawable(self) -> "Drawn":
        seen: dict[tuple[float, float], int] = {}
        for device, point in enumerate(self.positions):
            place = (point.x_m, point.y_m)
            if place in seen:
                raise ValueError(
                    f"devices {seen[place]} and {device} are in one place "
                    f"({point.x_m:g} m, {point.y_m:g} m); move one of them"
                )
            seen[place] = device
        pairs = set()
        for first, second in self.links:
            if first == second:
                raise ValueError(f"device {first} is linked to itself; remove that link")
            if not (0 <= first < len(self.positions) and 0 <= second < len(self.positions)):
                raise ValueError(
                    f"link {first}-{second} names a device that is not drawn; "
                    f"devices are 0 to {len(self.positions) - 1}"
                )
            pair = (min(first, second), max(first, second))
            if pair in pairs:
                raise ValueError(f"link {first}-{second} is drawn twice; remove one")
            pairs.add(pair)
        return self


class Random(Area):
    """Devices at random places, each linked to some others drawn by lot within radio reach."""

    kind: Literal["random"] = "random"
    degree: int = Field(
        4,
        ge=1,
        le=255,
        title="Neighbours",
        description="Links that every device draws at least. Nearest neighbours are added where "
        "the mesh would fall apart.",
        json_schema_extra=OUR_CHOICE,
    )


class Agnes(Area):
    """The paper's clusters: merged bottom-up while their experts collide little.

    Every pair linked inside a cluster, one gateway link between neighbouring clusters.
    """

    kind: Literal["agnes"] = "agnes"
    collision_max: Finite = Field(
        0.3,
        ge=0,
        le=1,
        title="Largest collision rate",
        description="Clusters stop growing where two of their devices would write the same entry "
        "of B more often than this. 1 makes one cluster as long as power lasts.",
        json_schema_extra={**unit("share"), **OUR_CHOICE},
    )
    collision: Literal["analytic", "empirical", "across_tasks"] = Field(
        "analytic",
        title="Collision counted",
        description="From the densities alone (the paper's Eq. 19), from the masks that were "
        "really drawn, or by Eq. 19 between tasks only: devices of one task mean the same by an "
        "entry.",
        json_schema_extra=OUR_CHOICE,
    )


Topology = Annotated[
    Ring | Full | Star | Geometric | Random | Clusters | Agnes | Drawn,
    Field(discriminator="kind"),
]


class IdealChannel(Part):
    """Every message arrives; airtime and energy are zero. A bound, not a radio."""

    kind: Literal["ideal"] = "ideal"


class PaperChannel(Part):
    """The paper's radio: d^-2 path loss, Rayleigh block fading, bandwidth split among receivers.

    Reference gain and spectral-efficiency cap are our repairs (docs/model.md).
    """

    kind: Literal["paper"] = "paper"
    bandwidth_hz: Hertz = Field(
        20e6,
        gt=0,
        le=1e11,
        title="Bandwidth",
        description="Band of one sender, split equally among its receivers. Half the band doubles "
        "the airtime.",
        json_schema_extra=OUR_CHOICE,
    )
    carrier_hz: Hertz = Field(
        3.5e9,
        ge=1e6,
        le=1e12,
        title="Carrier",
        description="Carrier frequency; sets the reference gain at one metre. Higher carriers "
        "reach less far.",
        json_schema_extra=OUR_CHOICE,
    )
    tx_power_dbm: DBm = Field(
        23.0,
        ge=-50,
        le=60,
        title="Transmit power",
        description="Power budget of a sender, split equally among its receivers.",
        json_schema_extra=OUR_CHOICE,
    )
    noise_figure_db: Decibel = Field(
        9.0,
        ge=0,
        le=40,
        title="Noise figure",
        description="How much the receiver adds to thermal noise (-174 dBm/Hz).",
        json_schema_extra=OUR_CHOICE,
    )
    fading: Literal["rayleigh", "none"] = Field(
        "rayleigh",
        title="Fading",
        description="Rayleigh: the gain of a link is drawn anew each round. None: the mean gain.",
    )
    spectral_efficiency_max: Finite = Field(
        7.4,
        gt=0,
        le=30,
        title="Spectral-efficiency cap",
        description="No link is faster than this, however good it is.",
        json_schema_extra={**unit("bit/s/Hz"), **OUR_CHOICE},
    )
    deadline_s: Seconds = Field(
        10.0,
        gt=0,
        le=86_400,
        title="Deadline",
        description="A message that would take longer is lost. Tight deadlines lose far devices.",
        json_schema_extra=OUR_CHOICE,
    )


Channel = Annotated[PaperChannel | IdealChannel, Field(discriminator="kind")]


class Local(Part):
    """No exchange: every device trains alone."""

    kind: Literal["local"] = "local"


class LoraGossip(Part):
    """Plain LoRA on a graph: both factors are averaged with the neighbours that were heard."""

    kind: Literal["lora_gossip"] = "lora_gossip"


class FfaGossip(Part):
    """Frozen-A gossip: one common A is never trained, B is averaged with the neighbours heard."""

    kind: Literal["ffa_gossip"] = "ffa_gossip"


class DecafGossip(Part):
    """DeCAF: products B A are averaged with the neighbours heard, then cut back to rank r."""

    kind: Literal["decaf_gossip"] = "decaf_gossip"


class ChocoGossip(Part):
    """CHOCO-SGD: devices send only what changed most; neighbours keep a public copy of each."""

    kind: Literal["choco_gossip"] = "choco_gossip"
    density: Finite = Field(
        0.25,
        gt=0,
        le=1,
        title="Density sent",
        description="Share of all values of A and B sent per round. Values that changed most go "
        "first, the others wait.",
        json_schema_extra={**unit("share"), **OUR_CHOICE},
    )
    gamma: Finite = Field(
        0.5,
        gt=0,
        le=1,
        title="Step towards neighbours",
        description="How far a device moves towards the mean of the public copies. 1 is plain "
        "gossip; few values sent want a smaller step.",
        json_schema_extra={**unit("share"), **OUR_CHOICE},
    )


class Lori(Part):
    """LoRI on a graph: random frozen A per task, masked B averaged with the neighbours heard."""

    kind: Literal["lori"] = "lori"
    density: Finite = Field(
        1.0,
        gt=0,
        le=1,
        title="Density s",
        description="Share of B that is trained and sent: 1 is LoRI-D, 0.1 is LoRI-S.",
        json_schema_extra=unit("share"),
    )
    mask_warmup_steps: int = Field(
        20,
        ge=1,
        le=1000,
        title="Mask warm-up",
        description="Steps of dense training that pick the entries to keep. Unused at density 1.",
        json_schema_extra={**unit("steps"), **OUR_CHOICE},
    )
    a_init: Literal["task", "common"] = Field(
        "task",
        title="Static A",
        description="Random rows per task (LoRI), or the same for all devices, as in frozen-A "
        "gossip.",
        json_schema_extra=OUR_CHOICE,
    )


class FullGossip(Part):
    """Full fine-tuning, merged: every linear layer is trained and averaged with the neighbours."""

    kind: Literal["full_gossip"] = "full_gossip"


class OracleExperts(Part):
    """Hard-routing experts: full fine-tuning per device, copied to all, picked by the true task."""

    kind: Literal["oracle_experts"] = "oracle_experts"


class Centralised(Part):
    """One LoRA trained on the samples of all devices in one place: a bound without any radio."""

    kind: Literal["centralised"] = "centralised"


GateName = Literal[
    "prototype",
    "oracle",
    "none",
    "projection_norm",
    "output_norm",
    "subspace",
    "gaussian",
    "arrow",
    "prompt_loss",
]


class SoLora(Part):
    """Sparse-and-orthogonal LoRA: static A, masked B, clusters, and a gate without a router."""

    kind: Literal["so_lora"] = "so_lora"
    mode: Literal["stack", "repaired", "literal"] = Field(
        "stack",
        title="Mode",
        description="Stack: experts stay apart, only devices of one task average. Repaired: B is "
        "averaged in the cluster over those that hold an entry. Literal: the paper's equations as "
        "printed.",
        json_schema_extra=OUR_CHOICE,
    )
    density: Finite = Field(
        0.5,
        gt=0,
        le=1,
        title="Density s",
        description="Share of B that is trained. Lower density sends fewer bits and learns less.",
        json_schema_extra=unit("share"),
    )
    density_by: Literal["uniform", "spectral"] = Field(
        "uniform",
        title="Density per layer",
        description="The same in every layer, or more where the frozen layer's response to the "
        "task has a flatter spectrum, at the same total.",
    )
    density_sent: Finite = Field(
        1.0,
        gt=0,
        le=1,
        title="Density sent",
        description="Share of B sent per round, at most the density. Entries that changed most go "
        "first, the others wait.",
        json_schema_extra={**unit("share"), **OUR_CHOICE},
    )
    mask: Literal["layer", "global", "column", "disjoint"] = Field(
        "layer",
        title="Mask",
        description="Largest entries per layer, over all layers, whole columns of B, or entries "
        "dealt out in the cluster beforehand so that nobody collides.",
        json_schema_extra=OUR_CHOICE,
    )
    mask_warmup_steps: int = Field(
        20,
        ge=1,
        le=1000,
        title="Mask warm-up",
        description="Steps of dense training that pick the entries to keep. Too few pick noise.",
        json_schema_extra={**unit("steps"), **OUR_CHOICE},
    )
    mask_every: int = Field(
        0,
        ge=0,
        le=10_000,
        title="Draw masks again",
        description="Every so many rounds, after another warm-up; 0 keeps the first masks.",
        json_schema_extra={**unit("rounds"), **OUR_CHOICE},
    )
    a_init: Literal["orthonormal", "task", "device", "common"] = Field(
        "orthonormal",
        title="Static A",
        description="Exactly orthogonal rows per task, Gaussian rows per task, Gaussian rows per "
        "device (the paper), or the same rows for all: then all tasks share one B.",
        json_schema_extra=OUR_CHOICE,
    )
    a_sent: Literal["seed", "matrix"] = Field(
        "seed",
        title="A travels as",
        description="A 64-bit seed from which the receiver draws it again, or the matrix itself.",
        json_schema_extra=OUR_CHOICE,
    )
    library_every: int = Field(
        5,
        ge=1,
        le=10_000,
        title="Library exchange",
        description="Every so many rounds devices publish their experts, which neighbours then "
        "copy hop by hop. They serve inference only, so seldom is cheap.",
        json_schema_extra={**unit("rounds"), **OUR_CHOICE},
    )
    gate: GateName = Field(
        "prototype",
        title="Gate",
        description="How a device picks experts at inference without a router and without being "
        "told the task: by similarity of the prompt to each task (prototype, subspace, gaussian), "
        "by the size of an expert's response (projection or output norm, arrow), or by the loss "
        "on the prompt. Oracle is told the task (a bound); none lets all answer at once.",
        json_schema_extra=OUR_CHOICE,
    )
    gate_level: Literal["prompt", "token"] = Field(
        "prompt",
        title="Gate decides per",
        description="Once per prompt and layer, or anew for every token.",
        json_schema_extra=OUR_CHOICE,
    )
    gate_blend: Literal["hard", "soft"] = Field(
        "hard",
        title="Gate picks",
        description="Hard: the best expert answers alone. Soft: experts answer in proportion to "
        "their score, the best at full strength.",
        json_schema_extra=OUR_CHOICE,
    )
    top_ranks: int = Field(
        0,
        ge=0,
        le=4096,
        title="Ranks kept",
        description="Keep only so many of the largest coordinates of A x (the paper's top-k); 0 "
        "keeps all.",
        json_schema_extra=OUR_CHOICE,
    )
    top_ranks_over: Literal["all", "expert"] = Field(
        "all",
        title="Ranks compete over",
        description="All experts together, or within each expert.",
        json_schema_extra=OUR_CHOICE,
    )

    @model_validator(mode="after")
    def _one_rule_per_layer(self) -> "SoLora":
        if self.density_by == "spectral" and self.mask in ("global", "disjoint"):
            raise ValueError(
                f"density_by is spectral but mask is {self.mask}, which settles the share of each "
                "layer itself; set density_by to uniform or mask to layer"
            )
        return self


Method = Annotated[
    SoLora
    | LoraGossip
    | FfaGossip
    | DecafGossip
    | ChocoGossip
    | Lori
    | FullGossip
    | OracleExperts
    | Centralised
    | Local,
    Field(discriminator="kind"),
]


class Adapter(Part):
    """The low-rank adapter that every device trains."""

    rank: int = Field(
        8,
        ge=1,
        le=256,
        title="Rank r",
        description="Rank of the update B A of every linear layer. More rank, more bits.",
    )
    alpha: Finite = Field(
        16.0,
        gt=0,
        le=1024,
        title="Alpha",
        description="The update is scaled by alpha / r.",
        json_schema_extra=OUR_CHOICE,
    )
    value_bits: Literal[32, 16, 8, 4] = Field(
        16,
        title="Precision on air",
        description="Bits per value sent. Values are rounded to it before sending; 8 and 4 share a "
        "16-bit scale per rank.",
        json_schema_extra={**unit("bit"), **OUR_CHOICE},
    )


class Training(Part):
    """How a device learns between two exchanges."""

    local_steps: int = Field(
        10,
        ge=1,
        le=10_000,
        title="Local steps",
        description="Optimizer steps between two exchanges. More steps talk less and drift more.",
        json_schema_extra={**unit("steps"), **OUR_CHOICE},
    )
    batch_size: int = Field(
        16,
        ge=1,
        le=1024,
        title="Batch size",
        description="Samples per device and step.",
        json_schema_extra=OUR_CHOICE,
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        "adamw",
        title="Optimizer",
        description="AdamW adapts the step per value; SGD is the paper's plain gradient step.",
        json_schema_extra=OUR_CHOICE,
    )
    learning_rate: Finite = Field(
        3e-3,
        gt=0,
        le=100,
        title="Learning rate",
        description="Step size. Too high ends the run as diverged.",
        json_schema_extra=OUR_CHOICE,
    )
    weight_decay: Finite = Field(
        0.0,
        ge=0,
        le=1,
        title="Weight decay",
        description="Decoupled decay of the adapter values per step, times the learning rate.",
    )
    clip_norm: Finite = Field(
        1.0,
        ge=0,
        le=1000,
        title="Gradient clip",
        description="Largest gradient norm of a device; 0 switches clipping off.",
    )
    warmup_steps: int = Field(
        10,
        ge=0,
        le=100_000,
        title="Warm-up",
        description="Steps over which the learning rate rises from zero.",
        json_schema_extra=unit("steps"),
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        title="Precision",
        description="Of the matrix products; adapters stay float32. Auto takes bfloat16 where the "
        "processor multiplies it in hardware.",
    )


class Evaluation(Part):
    """How accuracy is measured."""

    samples_per_task: int = Field(
        48,
        ge=1,
        le=10_000,
        title="Test samples per task",
        description="Every device answers this many unseen samples of every task. "
        "48 give a standard error of 7 points at most, per device and task.",
    )
    every_rounds: int = Field(
        1,
        ge=1,
        le=10_000,
        title="Evaluate every",
        description="Rounds between two evaluations; the last round is always evaluated.",
        json_schema_extra=unit("rounds"),
    )


class RunConfig(Part):
    """One experiment, whole. The same config and seed give the same records."""

    schema_version: Literal[1] = 1
    name: str = Field(
        "untitled",
        min_length=1,
        max_length=80,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        title="Name",
        description="What lists and legends call this run.",
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Two runs with one seed share data, places and fading, so they can be compared "
        "in pairs.",
    )
    rounds: int = Field(
        20,
        ge=1,
        le=10_000,
        title="Rounds",
        description="Train, exchange, evaluate: that many times.",
    )
    fleet: Fleet = Field(default_factory=Fleet, title="Devices and tasks")
    topology: Topology = Field(default_factory=Geometric, title="Topology")
    method: Method = Field(default_factory=SoLora, title="Method and sparsity")
    adapter: Adapter = Field(default_factory=Adapter, title="Adapter")
    channel: Channel = Field(default_factory=PaperChannel, title="Channel")
    training: Training = Field(default_factory=Training, title="Training")
    evaluation: Evaluation = Field(default_factory=Evaluation, title="Evaluation")

    @model_validator(mode="after")
    def _parts_fit(self) -> "RunConfig":
        devices = self.fleet.devices
        match self.topology:
            case Drawn(positions=positions) if len(positions) != devices:
                raise ValueError(
                    f"fleet.devices is {devices} but topology.positions places {len(positions)}; "
                    "make them equal"
                )
            case Clusters(by="place", clusters=groups) if groups > devices:
                raise ValueError(
                    f"topology.clusters is {groups} but fleet.devices is {devices}; "
                    "use at most one cluster per device"
                )
            case Agnes(collision="empirical") if _disjoint(self.method):
                raise ValueError(
                    "topology.collision is empirical but method.mask is disjoint, which deals out "
                    "entries by cluster; choose another mask or count collisions analytically"
                )
            case _:
                pass
        return self


def _disjoint(method: Method) -> bool:
    return isinstance(method, SoLora) and method.mask == "disjoint"


def canonical_json(config: RunConfig) -> str:
    """The config as JSON with sorted keys and no spaces: equal configs give equal text."""
    return json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def config_hash(config: RunConfig) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()


def with_values(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """A copy of `config` with dotted fields replaced, e.g. {"channel.bandwidth_hz": 2e7}.

    Setting a `kind` drops the other fields of that branch, which belong to the old kind.

    Raises:
        KeyError: a name on the way is no field.
        pydantic.ValidationError: the new tree is invalid.
    """
    tree = config.model_dump(mode="json")
    for dotted, value in sorted(changes.items(), key=lambda item: not item[0].endswith(".kind")):
        *branches, leaf = dotted.split(".")
        node = tree
        for branch in branches:
            if not isinstance(node.get(branch), dict):
                raise KeyError(dotted)
            node = node[branch]
        if leaf == "kind" and node.get("kind") != value:
            node.clear()
        node[leaf] = value
    return RunConfig.model_validate(tree)


def plain_errors(errors: list[Any]) -> list[tuple[str, str]]:
    """(field, sentence) of each pydantic error: the field dotted, the value and bound in words."""
    return [(_field(error), _sentence(error)) for error in errors if not _is_echo(error, errors)]


def _is_echo(error: Any, errors: list[Any]) -> bool:
    # Items that are wrong do not count, so a list of nothing else is "too short" as well.
    depth = len(error["loc"])
    return error["type"] == "too_short" and any(
        len(other["loc"]) > depth and other["loc"][:depth] == error["loc"] for other in errors
    )


def _field(error: Any) -> str:
    # pydantic puts the tag of a union after its field; a person does not write it.
    path = [str(part) for part in error["loc"]]
    shown = [p for before, p in zip(["", *path], path, strict=False) if before not in UNION_FIELDS]
    return ".".join(shown) or "config"


def _sentence(error: Any) -> str:
    given = error.get("input")
    if error["type"] == "extra_forbidden":
        return "there is no such field; check the spelling"
    if isinstance(given, float) and not math.isfinite(given):
        return f"must be a finite number, not {given}"
    message = str(error["msg"]).removeprefix("Value error, ")
    shown = f" (got {repr(given)[:80]})" if isinstance(given, str | int | float) else ""
    return message[:1].lower() + message[1:] + shown


UNION_FIELDS = frozenset({"topology", "channel", "method"})
