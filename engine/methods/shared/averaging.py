"""Averaging with neighbours: the arithmetic that the gossip methods share.

Push-sum is the stochastic gradient push of Assran, Loizou, Ballas, Rabbat, "Stochastic Gradient
Push for Distributed Deep Learning" (ICML 2019, arXiv 1811.10792), after Nedic and Olshevsky,
"Stochastic Gradient-Push for Strongly Convex Functions on Time-Varying Directed Graphs" (IEEE TAC,
2016). We deviate:
- several local steps of any optimizer lie between two exchanges, where the source has one gradient;
- a message that is lost takes no weight with it, since its sender knows who heard it, and a
  receiver how many did; these acknowledgements cost nothing;
- what rounding cuts off a message stays with its sender, so that the total is kept as well;
- a device that neither heard nor was heard trains on as it is: its change is applied to x at its
  next exchange, together with all later ones;
- a device whose weight is below `LEAST_PUSHED` gives nothing away until it has heard others; its
  message is paid all the same. Over links that work in one direction for ever it would give away
  its last weight, and x / y would leave all bounds.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, Masks, mix
from meshtune.engine.methods.rules import Heard, Memory, Setup
from meshtune.engine.methods.shared.precision import on_air

# Sound meshes stay above: over symmetric links y tends to (1 + deg_i) / mean (1 + deg).
LEAST_PUSHED = 1 / 8
WEIGHT, A, B = "push.y", "push.a.", "push.b."  # names in memory


def averaging_start(setup: Setup, factors: Adapters) -> Memory:
    """What `averaged` remembers before the first round: nothing, unless the rule is push-sum.

    push.y (n) is the weight y of M28; push.a.* and push.b.*, shaped as the factors, are x - z.
    """
    if setup.mixing.rule != "push_sum":
        return {}
    level = _each(torch.zeros_like, factors)
    return {WEIGHT: torch.ones(setup.devices)} | _remembered(level)


def averaged(
    setup: Setup,
    trained: Adapters,
    memory: Memory,
    heard: Heard,
    masks: Masks | None = None,
) -> tuple[Adapters, Memory]:
    """What devices keep, and remember, after averaging by the rule of the run (M6, M27, M28).

    Args:
        setup: Rule and precision on air.
        trained: The factors that are averaged; the same as in `averaging_start`.
        memory: All that the method remembers; comes back with the entries of push-sum changed.
        heard: `heard[i, j]`: i heard j.
        masks: Entries of B that a device holds; what it heard of others is dropped.
    """
    if setup.mixing.rule == "push_sum":
        return push_sum(setup, trained, memory, heard, masks)
    weights = setup.weights(heard)
    return _masked(neighbour_average(trained, weights, setup.value_bits), masks), memory


def neighbour_average(
    trained: Adapters, weights: Float64[np.ndarray, "n n"], value_bits: int
) -> Adapters:
    """Each factor averaged on its own with the given weights (docs/model.md M6, M27).

        x_i <- w_ii x_i + sum_j w_ij Q(x_j)

    Q rounds to the precision on air; a device does not round what it keeps itself.
    """
    w = torch.from_numpy(weights).float()
    own = torch.diag(torch.diagonal(w))
    received = mix(on_air(trained, value_bits), w - own)
    return _each(torch.add, mix(trained, own), received)


def push_sum(
    setup: Setup, trained: Adapters, memory: Memory, heard: Heard, masks: Masks | None = None
) -> tuple[Adapters, Memory]:
    """Averages that keep the mean over devices over directed links as well (docs/model.md M28).

        x_i <- x_i + (z_i after training - z_i before)
        x_i <- x_i + sum_j p_ij Q(x_j) - sum_k p_ki Q(x_i)         j: heard by i, k: heard i
        y_i <- sum_j p_ij y_j,   z_i = x_i / y_i

    with the column-stochastic weights P of `push_weights`. z are the adapters that train and
    answer, x and y what is sent. What one device gains another has given: sum_i x_i, and
    sum_i y_i = n, stay as they are, whatever was lost and however Q rounds. Masks break the first,
    since a receiver drops what it does not hold. y is at least LEAST_PUSHED / n. Arguments as for
    `averaged`; source: see the module.
    """
    y = memory[WEIGHT]
    p = setup.weights(heard & (y >= LEAST_PUSHED).numpy()[None, :])
    links = p * ~np.eye(len(p), dtype=np.bool_)
    gained = torch.from_numpy(links - np.diag(links.sum(axis=0)))
    x = biased(trained, memory)
    x = _masked(_each(torch.add, x, mix(on_air(x, setup.value_bits), gained)), masks)
    y = (torch.from_numpy(p) @ y.double()).to(y.dtype)

    touched = torch.from_numpy((links > 0).any(axis=0) | (links > 0).any(axis=1))

    def if_touched(then: Tensor, otherwise: Tensor) -> Tensor:
        return torch.where(_per_device(touched, then), then, otherwise)

    z = _each(if_touched, _each(lambda value: value / _per_device(y, value), x), trained)
    # An untouched device moved x by as much as z: their difference is the old one.
    ahead = _each(if_touched, _each(torch.sub, x, z), _ahead(trained, memory))
    return z, memory | {WEIGHT: y} | _remembered(ahead)


def biased(adapters: Adapters, memory: Memory) -> Adapters:
    """What push-sum sends, x of M28, given the adapters z and what it remembers."""
    return _each(torch.add, adapters, _ahead(adapters, memory))


def _ahead(adapters: Adapters, memory: Memory) -> Adapters:
    """The remembered x - z for the modules of `adapters`."""
    return Adapters(
        {name: memory[A + name] for name in adapters.a},
        {name: memory[B + name] for name in adapters.b},
    )


def _remembered(ahead: Adapters) -> Memory:
    """The inverse of `_ahead`."""
    a = {A + name: value for name, value in ahead.a.items()}
    return a | {B + name: value for name, value in ahead.b.items()}


def _masked(adapters: Adapters, masks: Masks | None) -> Adapters:
    if masks is None:
        return adapters
    return Adapters(adapters.a, {name: v * masks[name] for name, v in adapters.b.items()})


def _each(change: Callable[..., Tensor], *parts: Adapters) -> Adapters:
    """`change` of the values of all parts, factor by factor."""
    return Adapters(
        {name: change(*(part.a[name] for part in parts)) for name in parts[0].a},
        {name: change(*(part.b[name] for part in parts)) for name in parts[0].b},
    )


def _per_device(values: Shaped[Tensor, " n"], like: Float[Tensor, "n ..."]) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))
