"""Mixing weights from the links that worked in a round, and how fast they mix."""

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from jaxtyping import Bool, Float64, Int64

PUSH_BITS = 32  # a push-sum message carries the sender's weight y in single precision


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


def max_degree_weights(heard: Bool[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    """One weight for every link: symmetric, doubly stochastic, zero on silent links (M27).

        w_ij = 1 / (1 + max_k deg_k)  if i heard j and j heard i,   w_ii = 1 - sum_j w_ij

    deg counts the links that worked in both directions in this round. No link gets more than from
    `metropolis_weights`. Somebody would have to tell all devices the largest degree, which costs
    nothing here (our choice). `heard[i, j]`: i heard j; the diagonal is ignored. Source: Xiao &
    Boyd, Fast Linear Iterations for Distributed Averaging (2004), section 4.1, the maximum-degree
    weights; the 1 + is ours: nobody drops its own value.
    """
    both = heard & heard.T & ~np.eye(len(heard), dtype=np.bool_)
    degree = both.sum(axis=1)
    weights = np.where(both, 1.0 / (1.0 + degree.max()), 0.0)
    np.fill_diagonal(weights, 1.0 - weights.sum(axis=1))
    return weights


def uniform_weights(heard: Bool[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    """Equal shares for all that a device heard and itself: rows sum to 1 (M27).

        w_ij = 1 / (1 + h_i)  if i heard j or i = j,   h_i = number of devices that i heard

    Doubly stochastic if and only if the shares that a device gets from its hearers add up to 1,
    as in a regular pattern: all hear as many as hear them, and all equally many. Otherwise the
    mean over devices drifts: over symmetric links towards those with many neighbours, of which
    device i counts (1 + h_i) / sum_k (1 + h_k). `heard[i, j]`: i heard j; the diagonal is ignored.
    """
    return data_weights(heard, np.ones(len(heard), dtype=np.int64))


def data_weights(
    heard: Bool[np.ndarray, "n n"], samples: Int64[np.ndarray, " n"]
) -> Float64[np.ndarray, "n n"]:
    """Shares by the samples that a sender holds: rows sum to 1 (M27).

        w_ij = s_j / (s_i + sum_{k heard by i} s_k)  if i heard j or i = j

    On a full mesh without loss one mixing gives everybody the mean over samples, as in federated
    averaging. Elsewhere the limit is another: over symmetric links device i counts in proportion
    to s_i (s_i + sum_k s_k). Not doubly stochastic.

    Args:
        heard: `heard[i, j]`: i heard j; the diagonal is ignored.
        samples: Training samples of each device, at least 1.

    Source: McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized
    Data (2017), whose server weighs by samples; among neighbours it is our reading.
    """
    counted = heard | np.eye(len(heard), dtype=np.bool_)
    shares = np.where(counted, samples.astype(np.float64)[None, :], 0.0)
    weights: Float64[np.ndarray, "n n"] = shares / shares.sum(axis=1, keepdims=True)
    return weights


def push_weights(heard: Bool[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    """Equal shares of a sender for all that heard it and itself: columns sum to 1 (M28).

        p_ij = 1 / (1 + o_j)  if i heard j or i = j,   o_j = number of devices that heard j

    The total over devices stays whatever was lost in which direction; rows do not sum to 1, so
    averages need the weights y of push-sum. A sender knows who heard it, and a receiver how many
    others did: acknowledgements cost nothing (our choice). `heard[i, j]`: i heard j; the diagonal
    is ignored. Source: Assran, Loizou, Ballas & Rabbat, Stochastic Gradient Push for Distributed
    Deep Learning (2019), section 3, uniform mixing.
    """
    return np.ascontiguousarray(uniform_weights(heard.T).T)


def lazy(weights: Float64[np.ndarray, "n n"], share: float) -> Float64[np.ndarray, "n n"]:
    """Weights of a device that keeps a share of its own value before it averages (M27).

        W <- (1 - share) W + share I

    Keeps row sums and column sums of 1, and symmetry. Source: the lazy random walk, e.g. Levin,
    Peres & Wilmer, Markov Chains and Mixing Times (2009), section 1.3, where the share is 1/2.
    """
    return (1.0 - share) * weights + share * np.eye(len(weights))


@dataclass(frozen=True)
class MixingRule:
    """How much a device believes those that it heard (docs/model.md M27, M28).

    Attributes:
        rule: Which weights; push_sum needs the weights y of methods/shared/averaging.py as well.
        lazy: Share of its own value that a device keeps first, from 0 to below 1.
        samples: Training samples of each device, at least 1; "data" needs them.

    Raises:
        ValueError: the rule is "data" and there are no samples.
    """

    rule: Literal["metropolis", "max_degree", "uniform", "data", "push_sum"] = "metropolis"
    lazy: float = 0.0
    samples: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.rule == "data" and self.samples is None:
            raise ValueError("weights by data need the number of samples of every device")

    @property
    def message_bits(self) -> int:
        """Bits that the rule adds to every message: push-sum sends its weight along."""
        return PUSH_BITS if self.rule == "push_sum" else 0

    def weights(self, heard: Bool[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
        """Weight that receiver i gives sender j; `heard[i, j]`: i heard j."""
        return lazy(self._eager(heard), self.lazy)

    def _eager(self, heard: Bool[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
        match self.rule:
            case "metropolis":
                return metropolis_weights(heard)
            case "max_degree":
                return max_degree_weights(heard)
            case "uniform":
                return uniform_weights(heard)
            case "data":
                return data_weights(heard, np.array(self.samples, dtype=np.int64))
            case "push_sum":
                return push_weights(heard)
            case _:
                assert_never(self.rule)


def spectral_gap(weights: Float64[np.ndarray, "n n"]) -> float:
    """How fast averaging with these weights brings the devices together.

        gap = 1 - max over the eigenvalues but one 1 of |lambda|,   at least 0

    1: one mixing is enough, as in a complete graph or for one device; 0: the parts of the mesh
    never agree, or values are swapped for ever (a periodic pattern). With symmetric weights one
    mixing multiplies the distance to the mean by 1 - gap at most. With others the distance to the
    common limit shrinks by 1 - gap per round in the long run only, and may grow at first; for
    push-sum that is the distance of x / y to the mean.

    Eigenvalues are taken per strongly connected part, between which a matrix is triangular: a
    one-way chain of k parts has one eigenvector for k - 1 equal eigenvalues, and taken from the
    whole matrix these would be off by about eps^(1 / k). Copies inside a part, as in a de Bruijn
    graph, stay off by that. `weights` have rows, or columns, that sum to 1.
    Source: Xiao & Boyd, Fast Linear Iterations for Distributed Averaging (2004).
    """
    if len(weights) == 1:
        return 1.0
    if np.array_equal(weights, weights.T):
        values = np.linalg.eigvalsh(weights)
        # Rounding may put an eigenvalue past 1.
        return max(0.0, 1.0 - float(max(values[-2], -values[0])))
    part = _strong_parts(weights != 0.0)
    found = np.concatenate(
        [np.linalg.eigvals(weights[np.ix_(part == k, part == k)]) for k in np.unique(part)]
    )
    others = np.delete(found, np.abs(found - 1.0).argmin())
    return max(0.0, 1.0 - float(np.abs(others).max()))


def _strong_parts(follows: Bool[np.ndarray, "n n"]) -> Int64[np.ndarray, " n"]:
    """The strongly connected part of every device, named after its first device."""
    n = len(follows)
    reach = (follows | np.eye(n, dtype=np.bool_)).astype(np.float64)
    # Each squaring doubles the length of the paths; a path needs n - 1 hops at most.
    for _ in range(n.bit_length()):
        reach = (reach @ reach > 0.0).astype(np.float64)
    mutual = (reach > 0.0) & (reach.T > 0.0)
    first: Int64[np.ndarray, " n"] = mutual.argmax(axis=1)
    return first
