"""Averaging with neighbours: the arithmetic that the gossip methods share."""

import numpy as np
import torch

from engine.adapters import Adapters, mix
from engine.methods.base import Bits, Heard, Setup
from engine.precision import on_air, value_cost_bits
from engine.topology import Mesh, metropolis_weights


def neighbour_average(trained: Adapters, heard: Heard, value_bits: int) -> Adapters:
    """Each factor averaged on its own with Metropolis-Hastings weights (docs/model.md M6).

        x_i <- w_ii x_i + sum_j w_ij Q(x_j)

    over the links that worked in both directions, so that W stays doubly stochastic under loss. Q
    rounds to the precision on air; a device does not round what it keeps itself.
    """
    weights = torch.from_numpy(metropolis_weights(heard)).float()
    own = torch.diag(torch.diagonal(weights))
    received = mix(on_air(trained, value_bits), weights - own)
    kept = mix(trained, own)
    return Adapters(
        {name: kept.a[name] + value for name, value in received.a.items()},
        {name: kept.b[name] + value for name, value in received.b.items()},
    )


def both_factors_bits(setup: Setup, mesh: Mesh) -> Bits:
    """Bits of a dense adapter, A and B, on every link of the mesh: q (nA + nB) (model.md M11)."""
    rank, shapes = setup.rank, setup.shapes
    values = sum(rank * (d_out + d_in) for d_out, d_in in shapes.values())
    cost = value_cost_bits(values, 2 * rank * len(shapes), setup.value_bits)
    return mesh.linked.astype(np.int64) * cost
