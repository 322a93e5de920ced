"""RunConfig itself: the branches together, what must fit between them, its text and hash."""

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, model_validator

from meshtune.engine.config.channel import PaperChannel, RadioChannel
from meshtune.engine.config.errors import misfit
from meshtune.engine.config.families import Channel, Method, Topology, default_method
from meshtune.engine.config.fleet import Fleet
from meshtune.engine.config.model import Model, is_embedded, least_version
from meshtune.engine.config.motion import Churn, Mobility, Moving, Static, Trace
from meshtune.engine.config.nearest import nearest
from meshtune.engine.config.propagation import UmiStreetCanyon
from meshtune.engine.config.tasks import FileTask, held_by_default, is_none
from meshtune.engine.config.topology import (
    Agnes,
    BarabasiAlbert,
    Clusters,
    Drawn,
    Exponential,
    Geometric,
    KMeans,
    KNearest,
    WattsStrogatz,
)
from meshtune.engine.config.training import Adapter, Evaluation, Mixing, Training
from meshtune.engine.fields import Part
from meshtune.engine.methods.kind import MethodKind
from meshtune.engine.methods.registry import METHODS
from meshtune.engine.tasks import TASK_NAMES


class RunConfig(Part):
    """One experiment, whole. The same config and seed give the same records."""

    schema_version: Literal[1, 2] = 1
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
    # Like `tasks`, left out of text and hash where it says nothing new: see `least_version`.
    model: Model = Field(default_factory=Model, title="Model", exclude_if=is_embedded)
    fleet: Fleet = Field(default_factory=Fleet, title="Devices and tasks")
    tasks: tuple[FileTask, ...] = Field(
        (),
        max_length=64,
        title="Your tasks",
        description="Tasks of your own, each from a file of rows; fleet.tasks deals them out.",
        exclude_if=is_none,
    )
    topology: Topology = Field(default_factory=Geometric, title="Topology")
    method: Method = Field(default_factory=default_method, title="Method and sparsity")
    adapter: Adapter = Field(default_factory=Adapter, title="Adapter")
    channel: Channel = Field(default_factory=PaperChannel, title="Channel")
    mobility: Mobility = Field(default_factory=Static, title="Mobility")
    churn: Churn = Field(default_factory=Churn, title="Links and devices that come and go")
    mixing: Mixing = Field(default_factory=Mixing, title="Mixing")
    training: Training = Field(default_factory=Training, title="Training")
    evaluation: Evaluation = Field(default_factory=Evaluation, title="Evaluation")

    @model_validator(mode="before")
    @classmethod
    def _least_version(cls, tree: Any) -> Any:
        return least_version(held_by_default(tree))

    @model_validator(mode="after")
    def _parts_fit(self) -> "RunConfig":
        _tasks_fit(self)
        _topology_fits(self.topology, self.fleet.devices)
        _method_fits(self)
        _channel_fits(self)
        return self


def _tasks_fit(config: RunConfig) -> None:
    """No two tasks have one name, and devices hold none that is unknown."""
    names = [task.name for task in config.tasks]
    for number, name in enumerate(names):
        if name in TASK_NAMES or name in names[:number]:
            raise misfit(
                f"tasks.{number}.name", f"there is a task {name!r} already; choose another name"
            )
    known = [*TASK_NAMES, *names]
    for number, name in enumerate(config.fleet.tasks):
        if name not in known:
            meant = nearest(name, known)
            hint = f"; did you mean {meant}?" if meant else ""
            *most, last = map(repr, known)
            raise misfit(
                f"fleet.tasks.{number}", f"must be {', '.join(most)} or {last} (got {name!r}){hint}"
            )


def _topology_fits(topology: Topology, devices: int) -> None:
    match topology:
        case Drawn(positions=positions) if len(positions) != devices:
            raise misfit(
                "topology.positions",
                f"fleet.devices is {devices} but topology.positions places {len(positions)}; "
                "make them equal",
            )
        case Clusters(by="place", clusters=groups) | KMeans(clusters=groups) if groups > devices:
            raise misfit(
                "topology.clusters",
                f"topology.clusters is {groups} but fleet.devices is {devices}; "
                "use at most one cluster per device",
            )
        case KNearest(neighbours=most) | WattsStrogatz(neighbours=most) if most >= devices:
            raise misfit(
                "topology.neighbours",
                f"topology.neighbours is {most} but fleet.devices is {devices}; "
                f"a device has at most {devices - 1} neighbours",
            )
        case BarabasiAlbert(links_each=most) if most >= devices:
            raise misfit(
                "topology.links_each",
                f"topology.links_each is {most} but fleet.devices is {devices}; "
                f"a device has at most {devices - 1} neighbours",
            )
        case _:
            pass


def _method_fits(config: RunConfig) -> None:
    topology, chosen, rule = config.topology, config.method, config.mixing.rule
    method = METHODS[chosen.kind]
    empirical = isinstance(topology, Agnes) and topology.collision == "empirical"
    if empirical and method.deals_by_cluster(chosen):
        raise misfit(
            "topology.collision",
            "topology.collision is empirical but method.mask is disjoint, which deals out "
            "entries by cluster; choose another mask or count collisions analytically",
        )
    if isinstance(topology, Drawn) and method.needs_mesh:
        apart = _cut_off(len(topology.positions), topology.links)
        if apart:
            named = ", ".join(map(str, apart[:8])) + (" ..." if len(apart) > 8 else "")
            raise misfit(
                "topology.links",
                f"device {named} has no path to device 0, and {method.name} needs a connected "
                "mesh; draw a link to it, or choose the method local",
            )
    if rule == "push_sum" and method.averaging != "directed":
        directed = ", ".join(each.name for each in METHODS.rows() if each.averaging == "directed")
        raise misfit(
            "mixing.rule",
            f"push_sum mixes whole adapters, which {method.name} does not; choose metropolis, or "
            f"one of {directed}",
        )
    if method.averaging == "copies":
        _copies_fit(config)
    if config.adapter.start_from and not method.free_start:
        free = ", ".join(each.name for each in METHODS.rows() if each.free_start)
        raise misfit(
            "adapter.start_from",
            f"{method.name} makes its own factors before the first round; clear it, or choose one "
            f"of {free}",
        )
    if isinstance(topology, Exponential) and topology.direction == "one_way":
        _one_way_fits(method, rule)


def _one_way_fits(method: MethodKind, rule: str) -> None:
    if method.averaging != "directed" and method.needs_mesh:
        raise misfit(
            "topology.direction",
            f"{method.name} asks its neighbours back, so its links need both directions; "
            "set topology.direction to both",
        )
    if method.averaging == "directed" and rule not in ("uniform", "data", "push_sum"):
        raise misfit(
            "mixing.rule",
            f"{rule} counts links that work both ways, and here all point one way; choose "
            "uniform or push_sum",
        )


def _copies_fit(config: RunConfig) -> None:
    rule, churn, mobility = config.mixing.rule, config.churn, config.mobility
    name = config.method.kind
    if rule not in ("metropolis", "max_degree"):
        raise misfit(
            "mixing.rule",
            f"{name} needs symmetric weights, which {rule} does not give; choose metropolis "
            "or max_degree",
        )
    copies = f"{name} keeps a copy of each neighbour from the start, so its links must stay"
    if churn.link_up_prob < 1.0 or churn.leave_prob > 0.0:
        field = "link_up_prob" if churn.link_up_prob < 1.0 else "leave_prob"
        wanted = "1" if field == "link_up_prob" else "0"
        raise misfit(f"churn.{field}", f"{copies}; set churn.{field} to {wanted}")
    if isinstance(mobility, Moving) and mobility.relink_every > 0:
        raise misfit("mobility.relink_every", f"{copies}; set mobility.relink_every to 0")
    if isinstance(config.topology, Exponential) and config.topology.variant == "one_peer":
        raise misfit("topology.variant", f"{copies}; set topology.variant to static")


def _channel_fits(config: RunConfig) -> None:
    channel = config.channel
    if not isinstance(channel, RadioChannel):
        return
    if channel.coherence == "doppler" and isinstance(config.mobility, Trace):
        raise misfit(
            "channel.coherence",
            "doppler needs a speed, which a trace does not name; set channel.coherence to round",
        )
    law = channel.path_loss
    if isinstance(law, UmiStreetCanyon) and law.low_end_m > law.high_end_m:
        raise misfit(
            "channel.path_loss.low_end_m",
            f"the lower end is at {law.low_end_m:g} m but the higher one at {law.high_end_m:g} m; "
            "swap them",
        )


def _cut_off(devices: int, links: tuple[tuple[int, int], ...]) -> list[int]:
    """Devices without a path to device 0."""
    near: dict[int, set[int]] = {device: set() for device in range(devices)}
    for one, other in links:
        near[one].add(other)
        near[other].add(one)
    reached, front = {0}, [0]
    while front:
        front = [other for device in front for other in near[device] - reached]
        reached.update(front)
    return sorted(set(range(devices)) - reached)


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
    tree = {"model": config.model.model_dump(), **config.model_dump(mode="json")}
    tree["fleet"] = {"partition": config.fleet.partition.model_dump(), **tree["fleet"]}
    fresh: list[dict[str, Any]] = []  # branches of a new kind, whose fields are its defaults
    for dotted, value in sorted(changes.items(), key=_kinds_first):
        *branches, leaf = dotted.split(".")
        node = tree
        for branch in branches:
            if branch not in node and any(node is new for new in fresh):
                node[branch] = {}
                fresh.append(node[branch])
            if not isinstance(node.get(branch), dict):
                raise KeyError(dotted)
            node = node[branch]
        if leaf == "kind" and node.get("kind") != value:
            node.clear()
            fresh.append(node)
        node[leaf] = value
    return RunConfig.model_validate(tree)


def _kinds_first(change: tuple[str, Any]) -> tuple[bool, int]:
    dotted, _ = change
    return not dotted.endswith(".kind"), dotted.count(".")
