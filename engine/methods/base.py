"""What a method decides: what is trained, what goes on air, what is kept, what answers."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from engine.adapters import Adapters, Factor, Masks, Shapes, initial_adapters, select
from engine.config import TaskName
from engine.rng import stream_key

Memory = dict[str, Tensor]  # what a method remembers between rounds; stored in checkpoints
Bits = Int[np.ndarray, "n n"]
Heard = Bool[np.ndarray, "n n"]
Gate = Literal["single", "prototype", "oracle", "none"]


@dataclass(frozen=True)
class Setup:
    """What every method is told once: the fleet, the mesh and the adapter's shape."""

    seed: int
    rounds: int
    tasks: tuple[TaskName, ...]  # present in the run, in catalogue order
    own: Int[np.ndarray, " n"]  # index into `tasks`
    linked: Bool[np.ndarray, "n n"]
    shapes: Shapes
    rank: int
    value_bits: int
    prototypes: dict[str, Float[Tensor, "n d_in"]]  # mean base-model input; {} without that gate

    @property
    def devices(self) -> int:
        return len(self.own)


@dataclass(frozen=True)
class Bank:
    """The experts of a fleet at inference, each stored once.

    `held[i, k]` is the expert that device i has for slot k, or -1. The gate says how a device picks
    among its slots: "single" has one slot; "oracle" is told the task; "prototype" compares the
    prompt with `prototypes` (leading axis = expert); "none" sums all.
    """

    experts: Adapters
    held: Int[Tensor, "n k"]
    gate: Gate
    prototypes: dict[str, Float[Tensor, "e d_in"]]


@runtime_checkable
class Method(Protocol):
    """The rules of one paper. Hooks are pure and draw nothing that is not in a named stream."""

    @property
    def trained(self) -> frozenset[Factor]:
        """Factors that local training moves."""
        ...

    @property
    def warm_up_steps(self) -> int:
        """Steps of dense training before round 0 that `after_warm_up` looks at; 0 for none."""
        ...

    def start(self) -> tuple[Adapters, Memory]:
        """Adapters and memory before the first round."""
        ...

    def after_warm_up(self, warmed: Adapters, memory: Memory) -> Memory:
        """Memory after the warm-up, whose adapters are then thrown away."""
        ...

    def masks(self, memory: Memory) -> Masks | None:
        """Entries of B that exist; None for all."""
        ...

    def payload_bits(self, memory: Memory, round_index: int) -> Bits:
        """Bits that each sender (column) puts on air for each receiver (row); 0 for silence."""
        ...

    def combine(
        self, trained: Adapters, memory: Memory, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        """What each device keeps, given who heard whom."""
        ...

    def bank(self, adapters: Adapters, memory: Memory) -> Bank:
        """The experts with which the devices answer."""
        ...

    def diagnostics(self, memory: Memory) -> dict[str, float]:
        """Numbers for `RoundRecord.extra`."""
        ...


def common_start(setup: Setup) -> Adapters:
    """One fresh adapter, given to all devices: A uniform in +-1/sqrt(d_in), B zero.

    Devices that average factors must start from one A, or the mean of their products has no
    meaning. Source: Hu et al., LoRA (2022), section 4.1, with the bounds that PEFT uses.
    """
    generator = torch.Generator().manual_seed(stream_key(setup.seed, "adapter", "common") % 2**63)
    one = initial_adapters(setup.shapes, 1, setup.rank, generator)
    return select(one, [0] * setup.devices)


def on_air(adapters: Adapters, value_bits: int) -> Adapters:
    """The adapters as a receiver gets them: values rounded to the precision on air."""
    if value_bits == 32:
        return adapters
    return Adapters(
        {name: value.half().float() for name, value in adapters.a.items()},
        {name: value.half().float() for name, value in adapters.b.items()},
    )


def single_bank(adapters: Adapters) -> Bank:
    """The bank of a method without a library: every device answers with its own adapter."""
    n = len(next(iter(adapters.b.values())))
    return Bank(adapters, torch.arange(n)[:, None], "single", {})
