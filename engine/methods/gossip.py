"""Averaging with neighbours: the arithmetic that the gossip methods share."""

import torch

from engine.adapters import Adapters, mix
from engine.methods.base import Heard
from engine.precision import on_air
from engine.topology import metropolis_weights


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
