"""One adapter per device on the products of a projection, forward and backward."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshtune.engine.adapters.stack import Factor, Factors
from meshtune.engine.backbone.model import Product, Projection, fold_gain, frozen_outputs
from meshtune.engine.backbone.steps import (
    adapted,
    add_update_gradient,
    b_gradient,
    base_input_gradient,
    updated,
    z_gradient,
)


@dataclass(frozen=True)
class _LowRank:
    """Adapters of a projection: A stacked along the rank, one block-diagonal B per product.

    `scale` is in A already: scaling the smallest of all operands scales outputs and gradients.
    `blocks` are (module, rows, columns) of each product's B.
    """

    a: Float[Tensor, "n ranks d_in"]
    bs: list[Float[Tensor, "n _ _"]]
    scale: float | Float[Tensor, " d_in"]
    blocks: list[list[tuple[str, slice, slice]]]

    @staticmethod
    def of(projection: Projection, a: Factors, b: Factors, scaling: float) -> "_LowRank":
        scale = scaling if projection.gain is None else scaling * projection.gain
        joined_a = torch.cat([a[name] for name in projection.names if name in a], dim=1) * scale
        dtype = projection.products[0].weight.dtype
        blocks = [_blocks(product, a) for product in projection.products]
        bs = [
            _block_diagonal(product, parts, b).to(dtype)
            for product, parts in zip(projection.products, blocks, strict=True)
        ]
        return _LowRank(joined_a.to(dtype), bs, scale, blocks)


def _blocks(product: Product, a: Factors) -> list[tuple[str, slice, slice]]:
    parts = []
    row = column = 0
    for name, width in zip(product.names, product.widths, strict=True):
        if name in a:
            rank = a[name].shape[1]
            parts.append((name, slice(row, row + width), slice(column, column + rank)))
            column += rank
        row += width
    return parts


def _block_diagonal(
    product: Product, parts: list[tuple[str, slice, slice]], b: Factors
) -> Float[Tensor, "n d_out r"]:
    if len(product.names) == 1 and parts:
        return b[product.names[0]]
    n = len(next(iter(b.values())))
    joined = product.weight.new_zeros(
        n, len(product.weight), sum(b[x].shape[2] for x, _, _ in parts)
    )
    for name, rows, columns in parts:
        joined[:, rows, columns] = b[name]
    return joined


def _full_updates(projection: Projection, b: Factors) -> list[Float[Tensor, "n _ d_in"]]:
    """Return the update of each product's weight, for modules whose adapter has no A."""
    dtype = projection.products[0].weight.dtype
    return [
        fold_gain(projection, torch.cat([b[name] for name in product.names], dim=1)).to(dtype)
        for product in projection.products
    ]


class Adapted:
    """Projects with one adapter per device; for training, collects the gradient on the way back.

    A module with a B but no A is updated in full (`Adapters`): then all modules that read the same
    input are. Their gradient is that of B; there is no A to train.

    A `backward` takes the gradients of the outputs of the last call with the same projection.
    """

    def __init__(
        self,
        a: Factors,
        b: Factors,
        scaling: float,
        trained: frozenset[Factor] = frozenset(),
    ) -> None:
        self.a, self.b, self.scaling, self.trained = a, b, scaling, trained
        self.saved: dict[tuple[str, ...], tuple[Tensor, Tensor, _LowRank]] = {}
        self.updated: dict[tuple[str, ...], tuple[Tensor, list[Tensor]]] = {}
        self.gradient: dict[Factor, Factors] = {kind: {} for kind in sorted(trained)}

    def __call__(self, projection: Projection, x: Tensor) -> Sequence[Tensor]:
        if not any(name in self.b for name in projection.names):
            return frozen_outputs(projection, x)
        if projection.names[0] not in self.a and projection.names[0] in self.b:
            updates = _full_updates(projection, self.b)
            if self.trained:
                self.updated[projection.names] = x, updates
            return updated(x, projection.weights, updates)
        low_rank = _LowRank.of(projection, self.a, self.b, self.scaling)
        ys, z = adapted(x, projection.weights, low_rank.a, low_rank.bs)
        if self.trained:
            self.saved[projection.names] = x, z, low_rank
        return ys

    def backward(self, projection: Projection, *dys: Tensor) -> Tensor:
        """Return the gradient of the projection's input."""
        dx = base_input_gradient(dys, projection.weights)
        if projection.names in self.updated:
            add_update_gradient(dx, dys, self.updated[projection.names][1])
            self.backward_factors(projection, *dys)
            return dx
        if projection.names not in self.saved:
            return dx
        a = self.saved[projection.names][2].a
        return dx.baddbmm_(self.backward_factors(projection, *dys), a)

    def backward_factors(self, projection: Projection, *dys: Tensor) -> Tensor:
        """Collect the gradients of the factors and return that of z = x A^T (empty without A)."""
        if projection.names in self.updated:
            self._collect_updates(projection, *dys)
        if projection.names not in self.saved:
            return dys[0].new_zeros(*dys[0].shape[:2], 0)
        x, z, low_rank = self.saved.pop(projection.names)
        dz = z_gradient(dys, low_rank.bs)
        if "a" in self.trained:
            names = [name for blocks in low_rank.blocks for name, _, _ in blocks]
            joined = torch.bmm(dz.mT, x) * low_rank.scale
            ranks = [self.a[name].shape[1] for name in names]
            self.gradient["a"].update(zip(names, joined.split(ranks, dim=1), strict=True))
        if "b" in self.trained:
            for db, blocks in zip(b_gradient(dys, z, low_rank.bs), low_rank.blocks, strict=True):
                for name, rows, columns in blocks:
                    self.gradient["b"][name] = db[:, rows, columns]
        return dz

    def _collect_updates(self, projection: Projection, *dys: Tensor) -> None:
        x, _ = self.updated.pop(projection.names)
        for product, dy in zip(projection.products, dys, strict=True):
            joined = fold_gain(projection, torch.bmm(dy.mT, x))
            parts = joined.split(product.widths, dim=1)
            self.gradient["b"].update(zip(product.names, parts, strict=True))
