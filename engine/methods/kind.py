"""What a method tells before anything is trained: the light half of its contract.

The heavy half, the hooks that compute, is in `meshtune.engine.methods.rules`. Nothing here has a
default: a fact that a method does not state is an error where the method is registered.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine.fields import Part
from meshtune.engine.ledger import Accounts, PlacesCode, Shapes
from meshtune.engine.mesh import Links
from meshtune.engine.methods.shared.gates import GateName
from meshtune.engine.registry import load
from meshtune.engine.weights import MixingRule

Cluster = Int64[np.ndarray, " n"]
Dash = Literal["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]


class MethodPart(Part):
    """Base of the config of a method; `kind` is a Literal with the method's name as default."""

    kind: str


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


@dataclass(frozen=True, kw_only=True)
class Look:
    """How screens name and draw a method.

    Attributes:
        title: Its name.
        short: Its name where there is little room.
        color: In light and dark mode, "#RRGGBB" each; None for one that is given to it.
        dash: Of its curves.
    """

    title: str
    short: str
    color: tuple[str, str] | None
    dash: Dash


@dataclass(frozen=True, kw_only=True)
class MethodKind:
    """A method: its config, its costs, its rules, and where it fits.

    Attributes:
        config: Its branch of the config tree.
        costs: What it costs, by its config and the terms of a run.
        rules: "module:class" of its hooks, a `Method` made from (setup, config); loads torch.
        look: How screens show it.
        averaging: "none": devices never average. "links": over links that work both ways.
            "directed": over links that work one way as well, and by push-sum. "copies": through
            copies of each neighbour that are kept from the start, so that links must stay and
            weights be symmetric.
        needs_mesh: Whether devices need links at all.
        whole: Whether whole matrices are trained, for which rank and alpha mean nothing.
        names_places: Whether messages say which entries they hold.
        deals_by_cluster: Whether a config deals out entries by cluster beforehand.
    """

    config: type[MethodPart]
    costs: Callable[[Any, Terms], Costs]
    rules: str
    look: Look
    averaging: Literal["none", "links", "directed", "copies"]
    needs_mesh: bool
    whole: bool
    names_places: bool
    deals_by_cluster: Callable[[Any], bool]

    @property
    def name(self) -> str:
        """Its `kind` in a config."""
        return str(self.config.model_fields["kind"].default)

    def default(self) -> MethodPart:
        """Its config with the defaults of every field."""
        return self.config.model_validate({})

    def load_rules(self) -> Any:
        """The class of its hooks."""
        return load(self.rules)
