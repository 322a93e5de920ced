"""What a method decides: what is trained, what goes on air, what is kept, what answers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, Factor, Masks, initial_adapters, select
from meshtune.engine.fleet import BOTH_FACTORS
from meshtune.engine.ledger import Accounts, Messages, silence
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.gates import GateLevel, GateName
from meshtune.engine.methods.kind import MethodPart
from meshtune.engine.methods.registry import METHODS
from meshtune.engine.methods.terms import Costs, Terms
from meshtune.engine.rng import stream_key

Memory = dict[str, Tensor]  # what a method remembers between rounds; stored in checkpoints
Bits = Int[np.ndarray, "n n"]
Heard = Bool[np.ndarray, "n n"]
# What a device tells about its task's inputs, by kind ("mean", ...) and module; leading axis n.
Signatures = dict[str, dict[str, Float[Tensor, "_ ..."]]]


@dataclass(frozen=True, kw_only=True)
class Setup(Terms):
    """What every method is told once: the terms of the run, and what the frozen model says."""

    seed: int
    tasks: tuple[str, ...]  # present in the run, in catalogue order
    scaling: float  # of B A in the forward pass, alpha / r
    signatures: Signatures  # {} for a gate that needs none
    entropies: dict[str, Float[Tensor, " n"]]  # spectral entropy per module; {} unless asked for
    # Reads the one adapter that all start from; not called on resuming, when the file may be gone.
    given: Callable[[], Adapters] | None = None

    def weights(self, heard: Heard) -> Float64[np.ndarray, "n n"]:
        """Weight that receiver i gives sender j by the rule of the run (M6, M27, M28)."""
        return self.mixing.weights(heard)


@dataclass(frozen=True)
class Gate:
    """How a device picks among the experts it holds (docs/model.md M10).

    "single" has one expert; "oracle" is told the task, all other kinds are blind to it. `top_ranks`
    is 0 for all.
    """

    kind: GateName | Literal["single"] = "single"
    level: GateLevel = "prompt"
    blend: Literal["hard", "soft"] = "hard"
    top_ranks: int = 0
    top_ranks_over: Literal["all", "expert"] = "all"


@dataclass(frozen=True)
class Bank:
    """The experts of a fleet at inference, each stored once.

    `held[i, k]` is the k-th expert that device i holds, or -1. `task[e]` is the task of expert e,
    which the oracle and the count of right routes read, no other gate. Leading axis of the
    signatures: expert.
    """

    experts: Adapters
    held: Int[Tensor, "n k"]
    task: Int[Tensor, " e"]
    gate: Gate
    signatures: Signatures


@runtime_checkable
class Method(Protocol):
    """The rules of one paper. Hooks are pure and draw nothing that is not in a named stream."""

    @property
    def trained(self) -> frozenset[Factor]:
        """Factors that local training moves."""
        ...

    @property
    def pooled(self) -> bool:
        """Whether all samples train one adapter in one place, rather than each device its own."""
        ...

    def warm_up_steps(self, round_index: int) -> int:
        """Steps of dense training before this round that `after_warm_up` looks at; 0 for none."""
        ...

    def start(self) -> tuple[Adapters, Memory]:
        """Adapters and memory before the first round."""
        ...

    def after_warm_up(
        self, warmed: Adapters, memory: Memory, mesh: Mesh, round_index: int
    ) -> Memory:
        """Memory after the warm-up, whose adapters are then thrown away."""
        ...

    def masks(self, memory: Memory) -> Masks | None:
        """Entries of B that exist; None for all."""
        ...

    def sent(self, memory: Memory, mesh: Mesh, round_index: int) -> Messages:
        """What each sender (column) puts on air for each receiver (row); 0 bits for silence."""
        ...

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        """What each device keeps, given who heard whom."""
        ...

    def relayed(self, memory: Memory, mesh: Mesh) -> Messages:
        """The next hop after `combine`, in the same round; all 0 ends the round."""
        ...

    def relay(self, memory: Memory, mesh: Mesh, heard: Heard) -> Memory:
        """Memory after that hop."""
        ...

    def bank(self, adapters: Adapters, memory: Memory) -> Bank:
        """The experts with which the devices answer."""
        ...

    def diagnostics(self, memory: Memory) -> dict[str, float]:
        """Numbers for `RoundRecord.extra`."""
        ...


class NoRelay:
    """The hooks of a method whose messages go to neighbours and no further."""

    def relayed(self, memory: Memory, mesh: Mesh) -> Messages:
        return silence(mesh)

    def relay(self, memory: Memory, mesh: Mesh, heard: Heard) -> Memory:
        return memory


@dataclass(frozen=True)
class PlainMethod(NoRelay):
    """The hooks of a method with one dense adapter per device and nothing to remember.

    It sends what its costs say.
    """

    setup: Setup
    rule: MethodPart
    trained: frozenset[Factor] = BOTH_FACTORS
    pooled: bool = False

    def warm_up_steps(self, round_index: int) -> int:
        return 0

    def start(self) -> tuple[Adapters, Memory]:
        return common_start(self.setup), {}

    def after_warm_up(
        self, warmed: Adapters, memory: Memory, mesh: Mesh, round_index: int
    ) -> Memory:
        return memory

    def masks(self, memory: Memory) -> Masks | None:
        return None

    def sent(self, memory: Memory, mesh: Mesh, round_index: int) -> Messages:
        return self._accounts.sent(mesh, round_index)

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        return trained, memory

    def bank(self, adapters: Adapters, memory: Memory) -> Bank:
        return single_bank(adapters, self.setup)

    def diagnostics(self, memory: Memory) -> dict[str, float]:
        return {}

    @cached_property
    def _accounts(self) -> Accounts:
        costs: Costs = METHODS[self.rule.kind].load_costs()(self.rule, self.setup)
        return costs.accounts


def build_method(chosen: MethodPart, setup: Setup) -> Method:
    """The rules that `chosen` names, for this fleet."""
    rules: Method = METHODS[chosen.kind].load_rules()(setup, chosen)
    return rules


def common_start(setup: Setup) -> Adapters:
    """One adapter for all devices: the given one, else A uniform in +-1/sqrt(d_in) and B zero.

    Devices that average factors must start from one A, or the mean of their products has no
    meaning. Source: Hu et al., LoRA (2022), section 4.1, with the bounds that PEFT uses.
    """
    if setup.given is not None:
        return select(setup.given(), [0] * setup.devices)
    generator = torch.Generator().manual_seed(stream_key(setup.seed, "adapter", "common") % 2**63)
    one = initial_adapters(setup.shapes, 1, setup.rank, generator)
    return select(one, [0] * setup.devices)


def single_bank(adapters: Adapters, setup: Setup) -> Bank:
    """The bank of a method without a library: every device answers with its own adapter."""
    held = torch.arange(setup.devices)[:, None]
    return Bank(adapters, held, torch.from_numpy(setup.own), Gate(), {})
