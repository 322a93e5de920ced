"""A gated sum of experts on the frozen model."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.backbone.base import Gates, TopRanks
from meshtune.engine.backbone.model import LlamaWeights, Projection, fold_gain, frozen_outputs
from meshtune.engine.backbone.walk import Scored, by_sequence, hidden_states, logits_of, rotation_of
from meshtune.engine.errors import ConfigMismatch


def forward_experts(
    backbone: LlamaWeights,
    tokens: Int[Tensor, "m t"],
    experts: Adapters,
    gates: Gates,
    scaling: float,
    *,
    top_ranks: TopRanks | None = None,
    places: Int[Tensor, "m s"] | None = None,
) -> Float[Tensor, "m s vocab"]:
    """Return the logits under a gated sum of experts: y = W0 x + scaling sum_k B_k top(g_k A_k x).

    Arguments are those of `Backbone.blended`.

    Raises:
        ConfigMismatch: An expert updates weights in full, so it has no A x to gate.
    """
    t = tokens.shape[1]
    if experts.a.keys() != experts.b.keys():
        raise ConfigMismatch("experts that update weights in full cannot be blended; pick one")

    def project(projection: Projection, x: Tensor) -> Sequence[Tensor]:
        ys = frozen_outputs(projection, x)
        names = tuple(name for name in projection.names if name in experts.a)
        weights = _gate_weights(projection, names, gates, x)
        zs = _expert_inputs(projection, names, experts, x)
        for product, y in zip(projection.products, ys, strict=True):
            parts = y[0].split(product.widths, dim=1)
            for name, part in zip(product.names, parts, strict=True):
                if name in zs:
                    z = gated(zs[name], weights[name], top_ranks)
                    b = (scaling * experts.b[name]).to(x.dtype)
                    part.addmm_(z, b.movedim(0, 1).flatten(1).T)
        return ys

    # A gate that sees tokens sees those before the answer in the last layer as well.
    early = None if places is None or callable(gates) else Scored.at(places[None], t)
    hidden = hidden_states(
        backbone, tokens[None], project, rotation_of(backbone, tokens[None]), early
    )
    if places is not None and early is None:
        hidden = Scored.at(places[None], t).take(hidden)
    return by_sequence(logits_of(backbone, hidden), t if places is None else places.shape[1])[0]


def _gate_weights(
    projection: Projection, names: tuple[str, ...], gates: Gates, x: Float[Tensor, "1 rows d_in"]
) -> dict[str, Float[Tensor, "_ k"]]:
    """Weights per module: a line per token, or per sequence, which count fastest."""
    if callable(gates):
        return gates(names, fold_gain(projection, x[0].float()))
    return {name: gates[name] if isinstance(gates, dict) else gates for name in names}


def _expert_inputs(
    projection: Projection, names: tuple[str, ...], experts: Adapters, x: Tensor
) -> dict[str, Float[Tensor, "rows k r"]]:
    """Return z = A_k x of all experts for each module, computed as one product."""
    if not names:
        return {}
    joined = torch.cat([experts.a[name].flatten(0, 1) for name in names])
    z = x[0] @ fold_gain(projection, joined).to(x.dtype).T
    sizes = [experts.a[name].shape[:2] for name in names]
    parts = z.split([size.numel() for size in sizes], dim=1)
    return {
        name: part.unflatten(1, size) for name, part, size in zip(names, parts, sizes, strict=True)
    }


def gated(
    z: Float[Tensor, "rows k r"], weights: Float[Tensor, "_ k"], top_ranks: TopRanks | None
) -> Float[Tensor, "rows kr"]:
    """Return g A x, with the smaller coordinates at zero if so wanted."""
    rows, k, r = z.shape
    z = (z.view(-1, len(weights), k, r) * weights.to(z.dtype)[:, :, None]).view(rows, k * r)
    if top_ranks is None:
        return z
    if top_ranks.over == "all":
        return largest_kept(z, top_ranks.count)
    return largest_kept(z.view(rows * k, r), top_ranks.count).view(rows, k * r)


def largest_kept(z: Float[Tensor, "rows c"], count: int) -> Float[Tensor, "rows c"]:
    """Return z with all but the `count` largest absolute values of each row at zero.

    Ties go to the first.
    """
    if count >= z.shape[1]:
        return z
    size = z.abs()
    least = size.topk(count, dim=1).values[:, -1:]
    above, tied = size > least, size == least
    room = count - above.sum(dim=1, keepdim=True)
    return z * (above | (tied & (tied.cumsum(dim=1) <= room)))
