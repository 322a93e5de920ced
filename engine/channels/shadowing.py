"""Random fields over pairs of places: what houses do to a link, the same whenever one comes back.

The idea, shadowing of peer-to-peer links as a sum of sinusoids over both ends, is that of Wang,
Tameh and Nix, Joint Shadowing Process in Urban Peer-to-Peer Radio Channels, IEEE Trans. Vehicular
Technology 57(1), 2008. Kernel, symmetry and the ring of waves are ours.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine.geometry import distances_m
from meshtune.engine.rng import stream

# In one seed the correlation over distance is off by 1/sqrt(2 waves) = 0.04 (standard deviation);
# over seeds it is exact. Twice as many waves cost twice the time.
WAVES = 256
LINKS_AT_ONCE = 256  # so that the gathered rows stay in the cache


@dataclass(frozen=True)
class PairField:
    """A Gaussian field of mean 0 and variance 1 over pairs of places (docs/model.md M20).

        X(p, q) = sqrt(2 / K) sum_m cos(k_m . p / D + k_m+1 . q / D + phi_m + phi_m+1)
        S(p, q) = (X(p, q) + X(q, p)) / sqrt(2 + 2 exp(-2 |p - q| / D))

    Moving one end by x multiplies the correlation of X by exp(-|x| / D), moving both by both
    factors; so it does for S where the ends are much farther apart than D. exp(-2 |p - q| / D) is
    the correlation of the two terms, so the variance of S is 1 at any distance. All of this is over
    seeds. Indices run in a ring, 1 after K: every wave serves one end in one term and the other end
    in the next, which halves the cosines and changes no correlation, because two terms never share
    both phases (our choice).

    `waves` is for D = 1, so that fields of several decorrelation distances share one draw.
    """

    waves: Float64[np.ndarray, "k 2"]
    phases: Float64[np.ndarray, " k"]

    @classmethod
    def drawn(cls, seed: int, name: str) -> "PairField":
        """The field `name` of a seed, the same in every round and for every method.

        The kernel exp(-|x|) in two dimensions has the spectral density (1 + k^2)^(-3/2) / (2 pi),
        so a wave number is below k with probability 1 - (1 + k^2)^(-1/2); the inverse at 1 - u, u
        uniform in (0, 1], is k = sqrt(u^-2 - 1). Directions are uniform.
        """
        rng = stream(seed, "channel", name)
        radius = np.sqrt((1.0 - rng.random(WAVES)) ** -2.0 - 1.0)
        angle = 2.0 * math.pi * rng.random(WAVES)
        return cls(
            waves=np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1),
            phases=2.0 * math.pi * rng.random(WAVES),
        )

    def matrix(
        self, positions: Float64[np.ndarray, "n 2"], decorrelation_m: float
    ) -> Float64[np.ndarray, "n n"]:
        """S of every pair, symmetric to the bit; the diagonal is that of two ends at one place."""
        cosines, sines = self._around_the_ring(positions, decorrelation_m)
        one_way = cosines[:, :-1] @ cosines[:, 1:].T - sines[:, :-1] @ sines[:, 1:].T
        spread = self._spread(distances_m(positions), decorrelation_m)
        field: Float64[np.ndarray, "n n"] = (one_way + one_way.T) / spread
        return field

    def links(
        self,
        positions: Float64[np.ndarray, "n 2"],
        ends: tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]],
        decorrelation_m: float,
    ) -> Float64[np.ndarray, " m"]:
        """S of the pairs `ends`, two arrays of device numbers, without the rest of the matrix."""
        tables = self._around_the_ring(positions, decorrelation_m)
        first, second = ends
        both_ways = np.empty(len(first))
        for start in range(0, len(first), LINKS_AT_ONCE):
            part = slice(start, start + LINKS_AT_ONCE)
            (cos_p, cos_q), (sin_p, sin_q) = (
                (table[first[part]], table[second[part]]) for table in tables
            )
            both_ways[part] = (
                _row_products(cos_p[:, :-1], cos_q[:, 1:])
                - _row_products(sin_p[:, :-1], sin_q[:, 1:])
                + _row_products(cos_q[:, :-1], cos_p[:, 1:])
                - _row_products(sin_q[:, :-1], sin_p[:, 1:])
            )
        apart_m = np.hypot(*(positions[first] - positions[second]).T)
        field: Float64[np.ndarray, " m"] = both_ways / self._spread(apart_m, decorrelation_m)
        return field

    def _around_the_ring(
        self, positions: Float64[np.ndarray, "n 2"], decorrelation_m: float
    ) -> tuple[Float64[np.ndarray, "n ring"], Float64[np.ndarray, "n ring"]]:
        """Cosine and sine of every wave at every place, the first wave once more at the end."""
        angles = positions @ (self.waves.T / decorrelation_m) + self.phases
        cosines = np.empty((len(angles), len(self.waves) + 1))
        sines = np.empty_like(cosines)
        np.cos(angles, out=cosines[:, :-1])
        np.sin(angles, out=sines[:, :-1])
        cosines[:, -1], sines[:, -1] = cosines[:, 0], sines[:, 0]
        return cosines, sines

    def _spread(
        self, apart_m: Float64[np.ndarray, "*s"], decorrelation_m: float
    ) -> Float64[np.ndarray, "*s"]:
        """Standard deviation of sum_m cos(...) both ways."""
        spread: Float64[np.ndarray, "*s"] = np.sqrt(
            len(self.waves) * (1.0 + np.exp(-2.0 * apart_m / decorrelation_m))
        )
        return spread


def _row_products(
    one: Float64[np.ndarray, "m k"], other: Float64[np.ndarray, "m k"]
) -> Float64[np.ndarray, " m"]:
    products: Float64[np.ndarray, " m"] = np.einsum("mk,mk->m", one, other)
    return products
