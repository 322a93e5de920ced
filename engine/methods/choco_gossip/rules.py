"""CHOCO-SGD on a graph: both factors are averaged by messages that carry the largest changes only.

Source: Koloskova, Stich, Jaggi, "Decentralized Stochastic Optimization and Gossip Algorithms with
Compressed Communication" (arXiv 1902.00340); C is top-k. Everybody keeps a public copy of each
neighbour, and of itself, to which the compressed changes are added; devices are drawn towards the
copies. What a message leaves out stays in the difference and goes later.
We deviate where messages may be lost, which the source excludes. A receiver that missed a change
would hold another copy than its neighbours. So a copy advances only in rounds in which all linked
neighbours heard the change; else all drop it, and the sender finds it in its difference again.
Hence there is one copy per device, the same for all who hold it. Two neighbours are drawn together
only in rounds in which the copies of both advanced: a copy that stands still would pull by the same
step again and again, without end. A device behind a dead link therefore trains alone.
Acknowledgements cost nothing. Copies begin at the common start, which all know from the seed, where
the source begins at zero. Changes are rounded to the precision on air after top-k.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool

from meshtune.engine.adapters.masks import largest_changes
from meshtune.engine.adapters.stack import Adapters, Factors, mix
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.choco_gossip.config import ChocoGossip
from meshtune.engine.methods.rules import Heard, Memory, PlainMethod
from meshtune.engine.methods.shared.precision import on_air


@dataclass(frozen=True)
class ChocoGossipRules(PlainMethod):
    """x_i <- x_i + gamma sum_j w_ij (xh_j - xh_i) after xh_i <- xh_i + Q(C(x_i - xh_i)) (M6b).

    x are all values of A and B. Sends k values, k = round(density (nA + nB)), and their places, per
    link and round. Memory: copy.a.*, copy.b.*, the public copies xh, shaped as A and B.
    """

    rule: ChocoGossip

    def start(self) -> tuple[Adapters, Memory]:
        start, _ = super().start()
        return start, _remembered(start)

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        fresh = (heard | ~mesh.linked | np.eye(len(heard), dtype=bool)).all(axis=0)
        copies = self._advanced(trained, memory, fresh)
        both = mesh.linked & fresh[:, None] & fresh[None, :]
        weights = torch.from_numpy(self.setup.weights(both) - np.eye(len(both))).float()
        # Rows of W - I sum to zero: this is gamma sum_j w_ij (xh_j - xh_i).
        pull = mix(copies, self.rule.gamma * weights)
        kept = Adapters(_sums(trained.a, pull.a), _sums(trained.b, pull.b))
        return kept, memory | _remembered(copies)

    def _advanced(
        self, trained: Adapters, memory: Memory, fresh: Bool[np.ndarray, " n"]
    ) -> Adapters:
        """The public copies after this round's changes of the devices that all neighbours heard."""
        values = _remembered(trained)
        before = {name: memory[name] for name in values}
        everything = {name: torch.ones_like(v, dtype=torch.bool) for name, v in values.items()}
        sent = largest_changes(values, before, everything, self.rule.density)
        change = {
            name: torch.where(sent[name], value - before[name], 0.0)
            for name, value in values.items()
        }
        rounded = _remembered(on_air(_adapters(change), self.setup.value_bits))
        heard_by_all = torch.from_numpy(fresh)[:, None, None]
        return _adapters(
            {
                name: torch.where(heard_by_all, old + rounded[name], old)
                for name, old in before.items()
            }
        )


def _remembered(adapters: Adapters) -> Factors:
    """All values of both factors in one dictionary, under the names that memory gives them."""
    a = {f"copy.a.{name}": value for name, value in adapters.a.items()}
    return a | {f"copy.b.{name}": value for name, value in adapters.b.items()}


def _adapters(values: Factors) -> Adapters:
    """The inverse of `_remembered`."""
    a, b = "copy.a.", "copy.b."
    return Adapters(
        {name.removeprefix(a): v for name, v in values.items() if name.startswith(a)},
        {name.removeprefix(b): v for name, v in values.items() if name.startswith(b)},
    )


def _sums(first: Factors, second: Factors) -> Factors:
    return {name: value + second[name] for name, value in first.items()}
