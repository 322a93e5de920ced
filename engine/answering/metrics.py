"""What the updates of a fleet have to do with each other, and what their exchange cost.

Pure functions, one device per leading index; docs/metrics.md has every equation in one place. A
module without A holds a full update in B (engine/adapters/stack.py). dW_i = B_i A_i stands for all
modules of device i together, without the scaling, which cancels. A device without an update
(B = 0) has no direction: its value is NaN, and the means of `fleet_metrics` skip it.

Source of the list: the quantities that arXiv 2602.20492 argues with (its Eq. 13, 14, 19 and
Theorem 2); the definitions as numbers are ours where no equation is cited.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import (
    Adapters,
    Factor,
    Factors,
    Masks,
    distance_to_mean,
    flatten,
    select,
)
from meshtune.engine.answering.interference import Gates, Questions, interferences
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.rules import Bank
from meshtune.engine.topology.collision import collision_rate, empirical_collision, own_overlap
from meshtune.engine.weights import MixingRule, spectral_gap

BLOCK_VALUES = 2**24  # of a table that is built part by part: 64 MB


class Collisions(NamedTuple):
    """Shares of entries of B that devices of one cluster write together."""

    analytic: float
    empirical: float
    own: float


@dataclass(frozen=True)
class Exchange:
    """Adapters around one exchange: after the local steps, and what the devices kept of it."""

    before: Adapters
    after: Adapters
    masks: Masks | None
    trained: frozenset[Factor]


# Updates and subspaces


def update_cosines(adapters: Adapters) -> Float[Tensor, "n n"]:
    """Cosine between the updates of every two devices, over all modules together.

        cos_ij = <dW_i, dW_j> / (||dW_i|| ||dW_j||),
        <B_i A_i, B_j A_j> = sum[(B_i^T B_j) o (A_i A_j^T)]

    Theorem 2 of arXiv 2602.20492 promises 0 where A_i A_j^T = 0. The products are taken in the
    rank, n^2 r^2 (d_out + d_in) per module, and never form an update.
    """
    products = torch.stack(
        [_inner_products(b, adapters.a.get(name)) for name, b in adapters.b.items()]
    ).sum(dim=0)
    norms = products.diagonal().clamp(min=0).sqrt()
    return (products / (norms[:, None] * norms)).clamp(-1, 1)


def principal_cosine(a: Factors) -> Float[Tensor, "n n"]:
    """Cosine of the smallest angle between the row spaces of A_i and A_j, mean over modules.

        cos_ij = sigma_max(Q_i^T Q_j),   Q_i an orthonormal basis of the rows of A_i

    0: no input excites both; 1: they share a direction, as they must where 2 r > d_in. Devices
    with the same A are computed once. Source: Bjorck & Golub, Numerical Methods for Computing
    Angles Between Linear Subspaces (1973).
    """
    first, group = _distinct(a)
    m = len(first)
    left, right = torch.triu_indices(m, m, offset=1).unbind()
    total = torch.zeros(len(left))
    for value in a.values():
        total += _largest_cosines(value[first], left, right)
    table = torch.eye(m)
    table[left, right] = table[right, left] = total / len(a)
    return table[group][:, group]


def update_retention(before: Adapters, after: Adapters) -> Float[Tensor, " n"]:
    """Part of its own update that a device still has after the exchange.

        rho_i = <dW_i after, dW_i before> / ||dW_i before||^2

    1: nothing was lost; 1/m: a mean over m devices with unrelated updates; below 0: turned round.
    """
    kept = torch.zeros(len(next(iter(before.b.values()))))
    whole = torch.zeros_like(kept)
    for name, b in before.b.items():
        a = before.a.get(name)
        kept += _paired_products(after.b[name], after.a.get(name), b, a)
        whole += _paired_products(b, a, b, a)
    return kept / whole


def cluster_distances(adapters: Adapters, cluster: Int[np.ndarray, " n"]) -> Float[Tensor, " n"]:
    """Distance of every device to the mean adapter of its cluster (M14 within clusters).

    d_i = sqrt(sum over factors ||x_i - mean_{j in cluster(i)} x_j||_F^2); 0 for a device alone.
    """
    distances = torch.zeros(len(cluster))
    for members in _groups(cluster):
        distances[members] = distance_to_mean(select(adapters, members))
    return distances


def parameters_trained(
    adapters: Adapters, masks: Masks | None, trained: frozenset[Factor]
) -> Float[Tensor, " n"]:
    """Number of values that each device trains: entries of A, and of B where the mask has it.

    Q_i = sum_l [r d_in if A is trained] + [nnz(M_i) if B is trained], M all ones without masks.
    Source: arXiv 2602.20492, Eq. 17 for B alone.
    """
    count = torch.zeros(len(next(iter(adapters.b.values()))))
    if "a" in trained:
        count += sum(value[0].numel() for value in adapters.a.values())
    if "b" in trained and masks is None:
        count += sum(value[0].numel() for value in adapters.b.values())
    if "b" in trained and masks is not None:
        count += flatten(masks).sum(dim=1)
    return count


# Collisions


def mask_collisions(masks: Masks, groups: Sequence[Sequence[int]]) -> Collisions:
    """Collisions within clusters, mean over the clusters of two or more; 0 if there is none.

        analytic   mean over modules of Eq. 19 for the densities s_j = mean(M_j)
        empirical  share of all entries that two or more members hold
        own        share of a member's own entries that another holds too, mean over members

    Eq. 19 counts entries that nobody holds, so it reads far below what a device feels (`own`).
    Source: arXiv 2602.20492, Eq. 19; `own` is our addition.
    """
    shared = [list(members) for members in groups if len(members) >= 2]
    if not shared:
        return Collisions(0.0, 0.0, 0.0)
    flat = flatten(masks).numpy()
    densities = torch.stack(
        [value.flatten(1).double().mean(dim=1) for value in masks.values()], dim=1
    ).numpy()
    rates = [
        (
            collision_rate(densities[members]).mean(),
            empirical_collision(flat[members]),
            own_overlap(flat[members]).mean(),
        )
        for members in shared
    ]
    analytic, empirical, overlap = np.mean(rates, axis=0)
    return Collisions(float(analytic), float(empirical), float(overlap))


# All together


def fleet_metrics(
    exchange: Exchange,
    mesh: Mesh,
    bank: Bank,
    own: Int[Tensor, " n"],
    questions: Questions,
    gates: Gates | None = None,
    mixing: MixingRule | None = None,
) -> dict[str, float]:
    """Numbers for `RoundRecord.extra`; a number that has no meaning in this run is left out.

    Cosines are of the adapters before the exchange, in pairs of one task and of different tasks.

    Args:
        exchange: Adapters before and after, masks, and what is trained.
        mesh: Links and clusters of the round.
        bank: Experts with which the devices answer.
        own: Task of every device.
        questions: The exam; without inputs there is no interference.
        gates: Weights of the experts, if the run has a gate.
        mixing: How neighbours are averaged; Metropolis weights if None.
    """
    before = exchange.before
    trained = parameters_trained(before, exchange.masks, exchange.trained)
    known: dict[str, float | None] = {
        **_by_task("update_cosine", update_cosines(before), own),
        "update_retention_fraction": _mean(update_retention(before, exchange.after)),
        "trained_values_per_device": _mean(trained),
        **_mesh_metrics(exchange.after, mesh, mixing or MixingRule()),
    }
    if before.a:
        known |= _by_task("principal_cosine", principal_cosine(before.a), own)
    if exchange.masks is not None:
        collisions = mask_collisions(exchange.masks, _groups(mesh.cluster))
        known |= {f"collision_{kind}_fraction": rate for kind, rate in collisions._asdict().items()}
    if questions.inputs:
        kinds = {"ungated": None} if gates is None else {"ungated": None, "gated": gates}
        heard = interferences(bank, own, questions, list(kinds.values()))
        known |= {f"output_interference_{k}": _mean(v) for k, v in zip(kinds, heard, strict=True)}
    return {name: value for name, value in known.items() if value is not None}


def _mesh_metrics(after: Adapters, mesh: Mesh, mixing: MixingRule) -> dict[str, float | None]:
    inside = mixing.weights(mesh.inside)
    gaps = [
        spectral_gap(inside[np.ix_(members, members)])
        for members in _groups(mesh.cluster)
        if len(members) >= 2
    ]
    return {
        "spectral_gap": spectral_gap(mixing.weights(mesh.linked)),
        "spectral_gap_in_clusters": float(np.mean(gaps)) if gaps else None,
        "consensus_distance_in_clusters": _mean(cluster_distances(after, mesh.cluster)),
    }


def _by_task(
    name: str, table: Float[Tensor, "n n"], own: Int[Tensor, " n"]
) -> dict[str, float | None]:
    """Means over the pairs of one task and over those of different tasks."""
    same = own[:, None] == own[None, :]
    pair = ~torch.eye(len(own), dtype=torch.bool)
    return {
        f"{name}_same_task": _mean(table[same & pair]),
        f"{name}_other_task": _mean(table[~same]),
    }


def _mean(values: Float[Tensor, " m"]) -> float | None:
    """Mean of the values that exist."""
    known = values[~values.isnan()]
    return float(known.mean()) if len(known) else None


def _groups(cluster: Int[np.ndarray, " n"]) -> list[list[int]]:
    return [np.flatnonzero(cluster == number).tolist() for number in np.unique(cluster)]


def _inner_products(
    b: Float[Tensor, "n d_out r"], a: Float[Tensor, "n r d_in"] | None
) -> Float[Tensor, "n n"]:
    n, _, rank = b.shape
    if a is None:
        return b.flatten(1) @ b.flatten(1).mT
    wide_b, tall_a = b.movedim(1, 0).flatten(1), a.flatten(0, 1)
    rows = []
    # Few devices at a time, or high ranks of many devices would not fit the memory.
    for part in torch.arange(n).split(max(1, BLOCK_VALUES // (n * rank * rank))):
        some_b, some_a = b[part].movedim(1, 0).flatten(1), a[part].flatten(0, 1)
        core = (some_b.mT @ wide_b) * (some_a @ tall_a.mT)
        rows.append(core.view(len(part), rank, n, rank).sum(dim=(1, 3)))
    return torch.cat(rows)


def _paired_products(
    left_b: Float[Tensor, "n d_out r"],
    left_a: Float[Tensor, "n r d_in"] | None,
    right_b: Float[Tensor, "n d_out r"],
    right_a: Float[Tensor, "n r d_in"] | None,
) -> Float[Tensor, " n"]:
    """<dW_i left, dW_i right> of every device."""
    if left_a is None or right_a is None:
        return (left_b * right_b).sum(dim=(1, 2))
    return ((left_b.mT @ right_b) * (left_a @ right_a.mT)).sum(dim=(1, 2))


def _distinct(a: Factors) -> tuple[Int[Tensor, " m"], Int[Tensor, " n"]]:
    """First device of every different A, and for each device the place of its A among them."""
    places: dict[bytes, int] = {}
    first, group = [], []
    for device, row in enumerate(flatten(a).numpy()):
        key = row.tobytes()
        if key not in places:
            places[key] = len(places)
            first.append(device)
        group.append(places[key])
    return torch.tensor(first), torch.tensor(group)


def _largest_cosines(
    a: Float[Tensor, "m r d_in"], left: Int[Tensor, " p"], right: Int[Tensor, " p"]
) -> Float[Tensor, " p"]:
    m, rank, d_in = a.shape
    if 2 * rank > d_in:
        return torch.ones(len(left))  # two such spaces meet
    basis = torch.linalg.qr(a.mT).Q.movedim(1, 0).flatten(1)
    cross = (basis.mT @ basis).view(m, rank, m, rank)[left, :, right, :]
    squares: Tensor = torch.linalg.eigvalsh(cross @ cross.mT)[:, -1]
    return squares.clamp(0, 1).sqrt()
