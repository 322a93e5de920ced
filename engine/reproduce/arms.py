"""What is compared: one base experiment, and the changes that make each arm of it.

All numbers of the base are our choice: the paper prints none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshtune.engine.config import Drawn, RunConfig, with_values
from meshtune.engine.errors import EngineError
from meshtune.engine.reproduce.paper import Row

Changes = Mapping[str, Any]  # dotted config field -> value

REFERENCE = "lora"
CONVERGED = "lora_long"
PROPOSED = "so_lora"
SEEDS = 5
QUICK_SEEDS = 2
SWEEP_SEED = 1000  # no seed of a comparison is that high, so no arm is tuned on what judges it

BASE: RunConfig = with_values(
    RunConfig(),
    {
        "name": "reproduce",
        "rounds": 12,
        "fleet.devices": 16,
        "fleet.train_samples": 1000,
        "topology.kind": "random",
        "topology.degree": 4,
        "topology.radius_m": 300.0,
        "channel.kind": "paper",
        "channel.bandwidth_hz": 1e6,
        "training.local_steps": 10,
        "training.batch_size": 8,
        "evaluation.samples_per_task": 16,
        "evaluation.every_rounds": 4,
    },
)
QUICK: Changes = {"fleet.devices": 12, "rounds": 8, "evaluation.every_rounds": 4}


class ArmNotFound(EngineError):
    """No arm of the comparison has this name."""

    def __init__(self, name: str) -> None:
        known = ", ".join(arm.name for arm in ARMS)
        super().__init__(f"there is no arm {name!r}; arms: {known}")


@dataclass(frozen=True)
class Arm:
    """One line of the table.

    Attributes:
        name: What --arms and files call it.
        title: What tables call it.
        changes: Config fields that differ from the base.
        learning_rates: What --sweep tries; the best of them stands in `changes`.
        paper_row: The line of the paper's Table I that it stands for.
        ablation_of: The arm from which one mechanism is taken away.
        rounds_factor: Rounds, in units of those of the base.
        quick: Whether it is part of --quick.
        bound: Whether it is a bound and no contender: told the task, or all data in one place.
    """

    name: str
    title: str
    changes: Changes
    learning_rates: tuple[float, ...] = (4.5e-3, 6.5e-3, 9.5e-3, 1.3e-2)
    paper_row: Row | None = None
    ablation_of: str | None = None
    rounds_factor: int = 1
    quick: bool = False
    bound: bool = False


# Every weight moves: smaller steps than through a product.
FULL_RATES = (3e-4, 6e-4, 1.2e-3, 2.4e-3)
# All weights take 13 s and more over these links, so the default deadline would lose every message.
FULL: Changes = {"channel.deadline_s": 60.0, "training.learning_rate": 1.2e-3}
LORA: Changes = {"method.kind": "lora_gossip", "training.learning_rate": 9.5e-3}
SO_LORA: Changes = {
    "method.kind": "so_lora",
    "method.mode": "stack",
    "method.density": 0.5,
    "method.library_every": 6,
    "topology.kind": "agnes",
    # By Eq. 19 two tasks at s = 0.5 collide in 25 % of the entries, so clusters hold one task each.
    "topology.collision": "across_tasks",
    "topology.collision_max": 0.2,
    "training.learning_rate": 9.5e-3,
}
# The paper's own choices: one Gaussian A per device, clusters by Eq. 19 over all devices.
AS_PRINTED: Changes = {
    **SO_LORA,
    "method.mode": "literal",
    "method.a_init": "device",
    "topology.collision": "analytic",
    "topology.collision_max": 0.3,
    "training.learning_rate": 1.3e-2,
}
# The same, repaired: no division by those that do not hold an entry, exactly orthogonal A.
REPAIRED: Changes = {**AS_PRINTED, "method.mode": "repaired", "method.a_init": "orthonormal"}
ON_RANDOM_MESH: Changes = {
    **{name: value for name, value in SO_LORA.items() if not name.startswith("topology.")},
    "topology.kind": "random",
    "topology.degree": 4,
}

ARMS: tuple[Arm, ...] = (
    Arm("lora", "LoRA, random mesh", LORA, paper_row="LoRA", quick=True),
    Arm("lora_few", "LoRA, half the neighbours", {**LORA, "topology.degree": 2}),
    Arm("lora_long", "LoRA, converged", LORA, rounds_factor=3),
    Arm(
        "decaf_gossip",
        "DeCAF gossip",
        {"method.kind": "decaf_gossip", "training.learning_rate": 9.5e-3},
    ),
    Arm(
        "lori_d",
        "LoRI-D",
        {"method.kind": "lori", "method.density": 1.0, "training.learning_rate": 9.5e-3},
        paper_row="LoRI",
    ),
    Arm(
        "lori_s",
        "LoRI-S",
        {"method.kind": "lori", "method.density": 0.1, "training.learning_rate": 9.5e-3},
        paper_row="LoRI",
    ),
    Arm("so_lora", "Proposed (stack)", SO_LORA, paper_row="Proposed", quick=True),
    Arm("so_lora_long", "Proposed (stack), longer", SO_LORA, rounds_factor=3),
    Arm(
        "so_lora_end",
        "Proposed (stack), copies only at the end",
        {**SO_LORA, "method.library_every": 10_000},
        paper_row="Proposed",
    ),
    Arm(
        "so_lora_quarter",
        "Proposed (stack), half of it sent",
        {**SO_LORA, "method.density_sent": 0.25},
        paper_row="Proposed",
    ),
    Arm("so_lora_paper", "Proposed (repaired)", REPAIRED, paper_row="Proposed", quick=True),
    Arm("literal", "Proposed (as printed)", AS_PRINTED, paper_row="Proposed"),
    Arm(
        "single_cluster",
        "Proposed (repaired), single cluster",
        {**REPAIRED, "topology.collision_max": 1.0},
        paper_row="Proposed (single)",
        ablation_of="so_lora_paper",
        quick=True,
    ),
    Arm(
        "full_gossip",
        "Full fine-tuning, merged",
        {**FULL, "method.kind": "full_gossip"},
        learning_rates=FULL_RATES,
        paper_row="FPFT",
    ),
    Arm(
        "oracle_experts",
        "Full experts, oracle",
        {
            **FULL,
            "method.kind": "oracle_experts",
            # A bound on routing, so all copies shall arrive: eight of them share some links.
            "channel.deadline_s": 600.0,
            "training.learning_rate": 6e-4,
        },
        learning_rates=FULL_RATES,
        paper_row="Hard-routing MoE",
        bound=True,
    ),
    Arm(
        "ffa_gossip",
        "Frozen-A gossip",
        {"method.kind": "ffa_gossip", "training.learning_rate": 1.3e-2},
    ),
    Arm(
        "local",
        "Local only",
        {"method.kind": "local", "training.learning_rate": 3e-3},
        learning_rates=(2e-3, 3e-3, 4.5e-3, 6.5e-3),
        quick=True,
    ),
    Arm(
        "centralised",
        "Centralised LoRA",
        {"method.kind": "centralised", "training.learning_rate": 6.5e-3},
        bound=True,
    ),
    Arm(
        "dense",
        "without sparsity",
        {**SO_LORA, "method.density": 1.0},
        ablation_of="so_lora",
        quick=True,
    ),
    Arm(
        "a_task",
        "with A only nearly orthogonal",
        {**SO_LORA, "method.a_init": "task"},
        ablation_of="so_lora",
    ),
    Arm("no_clusters", "without clusters", ON_RANDOM_MESH, ablation_of="so_lora"),
    Arm(
        "a_common",
        "without clusters, one A for all tasks",
        {**ON_RANDOM_MESH, "method.a_init": "common"},
        ablation_of="no_clusters",
        quick=True,
    ),
    Arm(
        "no_gate",
        "without gate",
        {**SO_LORA, "method.gate": "none"},
        ablation_of="so_lora",
        quick=True,
    ),
)


def arm_named(name: str) -> Arm:
    """The arm with this name.

    Raises:
        ArmNotFound: there is none.
    """
    for arm in ARMS:
        if arm.name == name:
            return arm
    raise ArmNotFound(name)


def chosen_arms(names: Sequence[str] | None, *, quick: bool) -> tuple[Arm, ...]:
    """The named arms in the order of the table; without names, all arms or those of --quick.

    Raises:
        ArmNotFound: a name is unknown.
    """
    if names is None:
        return tuple(arm for arm in ARMS if arm.quick or not quick)
    wanted = {arm_named(name).name for name in names}
    return tuple(arm for arm in ARMS if arm.name in wanted)


def base_config(changes: Changes, *, quick: bool) -> RunConfig:
    """The experiment that all arms share, with the changes of --quick and then `changes`.

    Raises:
        KeyError: a name is no field.
        pydantic.ValidationError: a value is wrong.
    """
    return with_values(with_values(BASE, dict(QUICK) if quick else {}), dict(changes))


def arm_config(base: RunConfig, arm: Arm, seed: int) -> RunConfig:
    """The run of `arm` with `seed`. Another topology keeps the base's radius, so its places."""
    changes = {"name": arm.name, "seed": seed, "rounds": base.rounds * arm.rounds_factor}
    if not isinstance(base.topology, Drawn):
        changes["topology.radius_m"] = base.topology.radius_m
    return with_values(base, changes | dict(arm.changes))
