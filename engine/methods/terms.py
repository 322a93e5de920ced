"""What the costs of a method depend on, and what they are: no tensor, and nothing of a config."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine.ledger import Accounts, PlacesCode, Shapes
from meshtune.engine.mesh import Links
from meshtune.engine.methods.gates import GateName
from meshtune.engine.weights import MixingRule

Cluster = Int64[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the costs of a method depend on: the fleet, the adapter's shape, the mesh.

    Attributes:
        rounds: Of the run.
        own: (n) task of each device, an index into the tasks of the run.
        shapes: (d_out, d_in) of the adapted modules.
        rank: Of the adapter.
        value_bits: Precision on air.
        places: How a message says which entries it holds (M11c).
        mixing: The weights of the run (M6, M27, M28).
        samples: Training samples of a device.
        clustered: Whether the topology groups devices into clusters.
        fixed: Whether devices stay where they are.
    """

    rounds: int
    own: Int64[np.ndarray, " n"]
    shapes: Shapes
    rank: int
    value_bits: int
    places: PlacesCode
    mixing: MixingRule
    samples: int
    clustered: bool
    fixed: bool

    @property
    def devices(self) -> int:
        return len(self.own)

    @property
    def tasks_held(self) -> int:
        """Tasks that at least one device holds."""
        return int(self.own.max()) + 1

    @property
    def frozen_weights(self) -> int:
        """Frozen weights of the adapted modules."""
        return sum(d_out * d_in for d_out, d_in in self.shapes.values())

    @property
    def columns(self) -> int:
        """Columns of all modules together: scales that integers need for whole matrices."""
        return sum(d_in for _, d_in in self.shapes.values())

    @property
    def values_a(self) -> int:
        """Values of A, all modules together."""
        return self.rank * self.columns

    @property
    def values_b(self) -> int:
        """Values of B, all modules together."""
        return self.rank * sum(d_out for d_out, _ in self.shapes.values())

    @property
    def ranks(self) -> int:
        """Scales that integers need for one factor: modules times rank."""
        return self.rank * len(self.shapes)


@dataclass(frozen=True, kw_only=True)
class Work:
    """Values by what a training step does with them (docs/model.md M29).

    Attributes:
        frozen: Weights of the model that stand still.
        still: Adapter values that stand still.
        trained: Values that get a gradient.
    """

    frozen: int
    still: int
    trained: int


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a plan must know of a method with one config, in one fleet.

    Attributes:
        accounts: Bits and values on air, round after round, given who heard whom.
        message_bits: Of one message with a device's own expert (M11), without what is sent now and
            then: seeds, masks, signatures, copies, scales, places. Of a method that sends nothing,
            those of the method it is compared with, so that both have one mesh.
        work: Values by what a training step does with them.
        warm_up_steps: Steps of dense training before a round that choose masks; 0 in most rounds.
        occasion: Rounds of one occasion send alike; 0 are the ordinary ones.
        relays: Whether in this round copies travel on, hop by hop.
        introduces: Whether the first message over a link holds more than the later ones.
        density: Share of B that a device holds in the mean; 1 without masks.
        densities: Share of B that every device holds, given the clusters; None without masks.
        partners: Of some links, given the clusters, those over which devices would average.
        averaged: Of such links and those that were heard, those that enter an average.
        answers: Distinct answers that a question gets after so many rounds, as evaluation saves
            those that are equal.
        gate: Whose signatures the devices compute before the run; None for none.
        spectral: Whether densities follow the spectra of the frozen layers.
    """

    accounts: Accounts
    message_bits: int
    work: Work
    warm_up_steps: Callable[[int], int]
    occasion: Callable[[int], Hashable]
    relays: Callable[[int], bool]
    introduces: bool
    density: float
    densities: Callable[[Cluster], Float64[np.ndarray, " n"]] | None
    partners: Callable[[Links, Cluster], Links]
    averaged: Callable[[Links, Links], Links]
    answers: Callable[[int], float]
    gate: GateName | None
    spectral: bool
