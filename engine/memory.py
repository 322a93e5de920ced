"""Memory that a run will take on this machine, known before it is taken."""

import os
from dataclasses import dataclass
from pathlib import Path

from meshtune.engine import config as c
from meshtune.engine.costs import method_costs
from meshtune.engine.groups import device_groups
from meshtune.engine.models.door import facts_of
from meshtune.engine.models.questions import lengths_of

# Counted by hand from what training holds, and good for a factor of about 1.5.
BASE_BYTES = 400e6  # the process with its libraries
VALUE = 4  # bytes of float32
HALF_AND_FULL = 6  # bytes of a weight that is held in bfloat16 to train and in float32 to compare
ADAPTER_COPIES = 3  # in the state, while training, while mixing
MOMENTS = 2 * 2  # two of AdamW, in the state and while training
LOGIT_COPIES = 3  # probabilities, their logarithms, their gradient
ROWS_ASKED = 128  # questions that are answered at once


@dataclass(frozen=True)
class Memory:
    """Bytes that a run takes at its largest, about."""

    weights: float
    adapters: float
    moments: float
    activations: float

    @property
    def total(self) -> float:
        """All of it, the process included."""
        return BASE_BYTES + self.weights + self.adapters + self.moments + self.activations


def memory_of(config: c.RunConfig) -> Memory:
    """Memory of a run: frozen weights, adapters, moments, and activations of groups in training.

    Experts that a method keeps of others are not counted.

    Raises:
        AssetMissing: the model is not on this disk.
        ConfigMismatch: it is of a kind that the lab does not compute.
    """
    work, devices = method_costs(config).work, config.fleet.devices
    held = ADAPTER_COPIES * (work.still + work.trained) + work.trained  # and its gradient
    moments = MOMENTS * work.trained if config.training.optimizer == "adamw" else 0
    return Memory(
        weights=_weights(config),
        adapters=float(VALUE * devices * held),
        moments=float(VALUE * devices * moments),
        activations=_activations(config),
    )


def memory_problem(config: c.RunConfig) -> tuple[str, str] | None:
    """Why a model from outside does not fit into this machine: field and sentence; None if it does.

    Raises:
        AssetMissing: the model is not on this disk.
        ConfigMismatch: it is of a kind that the lab does not compute.
    """
    free = available_bytes()
    if config.model.source == "embedded" or free is None:
        return None
    found = memory_of(config)
    if found.total <= free:
        return None
    whole = f"the run takes about {_gigabytes(found.total)} and {_gigabytes(free)} are free"
    if BASE_BYTES + found.weights > free:
        return "model.path", f"{whole}; the model alone is too large, so choose a smaller one"
    return "fleet.devices", f"{whole}; take fewer devices, or lower training.batch_size or rank"


def available_bytes() -> float | None:
    """Memory that a new process can take here; None if this system does not say."""
    known = [bytes_ for bytes_ in (_of_the_machine(), _of_the_container()) if bytes_ is not None]
    return min(known, default=None)


def _weights(config: c.RunConfig) -> float:
    facts = facts_of(config.model)
    head = VALUE * facts.head_weights  # always a copy of its own, in float32
    full = VALUE * facts.parameters + head
    if config.training.precision != "float32":
        full = HALF_AND_FULL * facts.parameters + 2 * head
    if config.model.source == "embedded":
        return float(full)
    # Beside transformers' own, when both are compared.
    return float(max(full, 2 * VALUE * facts.parameters + head))


def _activations(config: c.RunConfig) -> float:
    """What the backward of the groups in training reads, and the logits of scored tokens."""
    facts, fleet = facts_of(config.model), config.fleet
    lengths = lengths_of(config, fleet.present_tasks())
    per_device = config.training.batch_size * lengths.longest
    groups = device_groups(fleet.devices, per_device)
    at_once = min(len(groups), os.cpu_count() or 1) * (groups[0].stop - groups[0].start)
    kept = facts.kept + facts.heads * lengths.longest  # attention
    layers = VALUE * at_once * per_device * facts.layers * kept
    scored = max(LOGIT_COPIES * at_once * config.training.batch_size, ROWS_ASKED)
    return float(layers + VALUE * scored * lengths.answer * facts.vocabulary)


def _of_the_machine() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (line,) = (each for each in lines if each.startswith("MemAvailable:"))
        return 1024.0 * int(line.split()[1])
    except (OSError, ValueError):
        return None


def _of_the_container() -> float | None:
    """The limit of a control group, less what its processes hold."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        held = dict(
            line.split() for line in (group / "memory.stat").read_text("ascii").splitlines()
        )
        return float(limit - int(held["anon"]))
    except (OSError, ValueError, KeyError):
        return None


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
