"""LoRA adapters of all devices, stacked along a leading device axis, and algebra on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

Factor = Literal["a", "b"]
# Keyed by target module ("layers.0.q_proj", ...), in network order.
Factors = dict[str, Float[Tensor, "n ..."]]
Masks = dict[str, Bool[Tensor, "n ..."]]
Shapes = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Adapters:
    """Low-rank factors in float32: per target module A is (n, r, d_in) and B is (n, d_out, r).

    A device adds `scaling * B A` to the frozen weight of a module. Without A, B is a full update
    (n, d_out, d_in): a device adds B itself, whatever the scaling. Either dictionary may be empty:
    a message that carries only B is an `Adapters` without A as well.
    """

    a: Factors
    b: Factors


@runtime_checkable
class Adaptable(Protocol):
    """A frozen model that knows the (d_out, d_in) of the modules an adapter can attach to."""

    @property
    def shapes(self) -> Shapes: ...


def module_shapes(backbone: Adaptable) -> Shapes:
    """Return (d_out, d_in) of every module that can carry an adapter, in network order."""
    return dict(backbone.shapes)


def initial_adapters(
    shapes: Shapes, devices: int, rank: int, generator: torch.Generator
) -> Adapters:
    """Return fresh adapters: A uniform in +-1/sqrt(d_in), B zero, so that the model is unchanged.

    Source: Hu et al., LoRA, 2022, Section 4.1, with the bounds PEFT uses (Kaiming, a = sqrt(5)).
    """
    a, b = {}, {}
    for name, (d_out, d_in) in shapes.items():
        uniform = torch.rand(devices, rank, d_in, generator=generator)
        a[name] = (2 * uniform - 1) / d_in**0.5
        b[name] = torch.zeros(devices, d_out, rank)
    return Adapters(a, b)


def parameter_count(adapters: Adapters) -> int:
    """Return the number of values one device holds."""
    return sum(value[0].numel() for value in (*adapters.a.values(), *adapters.b.values()))


def mix(adapters: Adapters, weights: Float[Tensor, "n n"]) -> Adapters:
    """Return the weighted sums x[i] <- sum_j weights[i, j] x[j], A and B each on its own.

    Args:
        adapters: Adapters of the n devices.
        weights: Row = receiver, column = sender. Rows that sum to 1 keep a common value unchanged.
    """
    return _each(adapters, lambda value: weighted_sums(weights, value.flatten(1)).view_as(value))


def weighted_sums(
    weights: Float[Tensor, "n n"], values: Float[Tensor, "n p"]
) -> Float[Tensor, "n p"]:
    """Return weights @ values where a weight of 0 keeps out what is not finite as well.

    Whoever heard a sender whose values overflowed gets NaN, and nobody else does.
    """
    weights = weights.to(values.dtype)
    summed = weights @ values
    if summed.isfinite().all():
        return summed
    finite = values.isfinite()
    summed = weights @ torch.where(finite, values, 0.0)
    heard = (weights != 0).to(values.dtype) @ (~finite).any(dim=1).to(values.dtype)
    return torch.where(heard[:, None] > 0, torch.nan, summed)


def mean(adapters: Adapters) -> Adapters:
    """Return the average device, as adapters of one device."""
    return _each(adapters, lambda value: value.mean(dim=0, keepdim=True))


def select(adapters: Adapters, devices: Sequence[int] | Int[Tensor, " n"]) -> Adapters:
    """Return copies of the named devices in the given order; a device may appear twice."""
    index = torch.as_tensor(devices, dtype=torch.long)
    return _each(adapters, lambda value: value[index])


def stack(parts: Sequence[Adapters]) -> Adapters:
    """Return the devices of all parts one after another; the parts have the same modules."""
    return Adapters(
        {name: torch.cat([part.a[name] for part in parts]) for name in parts[0].a},
        {name: torch.cat([part.b[name] for part in parts]) for name in parts[0].b},
    )


def distance_to_mean(adapters: Adapters) -> Float[Tensor, " n"]:
    """Return each device's Frobenius distance to the average device, over all its factors.

    d[i] = sqrt(sum over factors of |x[i] - mean_j x[j]|^2): 0 for all means consensus.
    """
    values = [*adapters.a.values(), *adapters.b.values()]
    return (
        torch.stack(
            [(value - value.mean(dim=0)).flatten(1).square().sum(dim=1) for value in values]
        )
        .sum(dim=0)
        .sqrt()
    )


def flatten(factors: Factors | Masks) -> Shaped[Tensor, "n p"]:
    """Return the values, or masks, of each device as one row, modules in dictionary order."""
    return torch.cat([value.flatten(1) for value in factors.values()], dim=1)


def unflatten(flat: Float[Tensor, "n p"], like: dict[str, Float[Tensor, "_ ..."]]) -> Factors:
    """Return the rows of `flatten` as factors with the names and shapes of `like` (views).

    `like` may have more devices: some of its rows are trained at a time.
    """
    sizes = [value[0].numel() for value in like.values()]
    parts = flat.split(sizes, dim=1)
    return {
        name: part.reshape(len(flat), *value.shape[1:])
        for (name, value), part in zip(like.items(), parts, strict=True)
    }


def _each(adapters: Adapters, change: Callable[[Tensor], Tensor]) -> Adapters:
    return Adapters(
        {name: change(value) for name, value in adapters.a.items()},
        {name: change(value) for name, value in adapters.b.items()},
    )
