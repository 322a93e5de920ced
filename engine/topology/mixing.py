"""Mixing weights from the links that worked in a round."""

import numpy as np
from jaxtyping import Bool, Float64


def metropolis_weights(heard: Bool[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    """Weight that receiver i gives sender j: symmetric, doubly stochastic, zero on silent links.

        w_ij = 1 / (1 + max(deg_i, deg_j))  if i heard j and j heard i,   w_ii = 1 - sum_j w_ij

    That is M6 of docs/model.md. A link counts only if it worked in both directions, because
    one-sided weights would not keep the mean over devices. `heard[i, j]`: i heard j; the diagonal
    is ignored. Source: Xiao, Boyd & Lall, A Scheme for Robust Distributed Sensor Fusion Based on
    Average Consensus (2005), the Metropolis weights.
    """
    both = heard & heard.T & ~np.eye(len(heard), dtype=np.bool_)
    degree = both.sum(axis=1)
    largest = np.maximum(degree[:, None], degree[None, :])
    weights = np.where(both, 1.0 / (1.0 + largest), 0.0)
    np.fill_diagonal(weights, 1.0 - weights.sum(axis=1))
    return weights


def spectral_gap(weights: Float64[np.ndarray, "n n"]) -> float:
    """How fast averaging with these weights brings the devices together.

        gap = 1 - max(|lambda_2|, |lambda_n|),   lambda_1 = 1 >= lambda_2 >= ... >= lambda_n

    One mixing multiplies the distance to the mean by 1 - gap at most. 1: one mixing is enough, as
    in a complete graph or for one device; 0: the mesh falls apart, and its parts never agree.
    `weights` are symmetric with rows that sum to 1, as `metropolis_weights` are.
    Source: Xiao & Boyd, Fast Linear Iterations for Distributed Averaging (2004).
    """
    if len(weights) == 1:
        return 1.0
    values = np.linalg.eigvalsh(weights)
    # Rounding may put an eigenvalue past 1.
    return max(0.0, 1.0 - float(max(values[-2], -values[0])))
