"""Small experiments behind the pages of Learn: engine functions on few numbers, NumPy alone."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from meshtune.engine import config as c
from meshtune.engine.channels import Radio, build_channel
from meshtune.engine.methods.so_lora.config import SoLora
from meshtune.engine.rng import stream
from meshtune.engine.topology import build_mesh
from meshtune.engine.topology.collision import (
    collision_rate,
    empirical_collision,
    own_collision,
    own_overlap,
)
from meshtune.engine.units import ratio_to_db

Matrix = Float64[np.ndarray, "_ _"]
DRAWS = 12  # of random matrices, whose mean is shown
PIXELS = (24, 40)  # rows and columns of the picture of B
DEVICES_MOST = 24
SCALES = np.linspace(0.0, 1.0, 21)  # weights of the other adapter


@dataclass(frozen=True)
class Interference:
    """Two adapters that answer one input. Lists have one value per weight of the other adapter."""

    weight: tuple[float, ...]
    error: tuple[float, ...]  # ||g B2 A2 x|| / ||B1 A1 x||: what the other one adds, by the own
    update_cosine: float  # <dW1, dW2> / (||dW1|| ||dW2||)
    principal_cosine: float  # largest cosine between the row spaces of A1 and A2


def interference(
    width: int, rank: int, density: float, *, orthogonal: bool, seed: int
) -> Interference:
    """What a second adapter adds to the output of the first, for a mean input (M10).

    Rows of A are Gaussian, or orthonormal and apart from those of the other adapter as long as
    2 rank <= width. B is Gaussian with each entry kept with probability `density`. Inputs are
    white. Source: arXiv 2602.20492, Lemma 2, whose claim that A_i A_j^T = 0 removes interference
    this shows to be untrue: B_j A_j x does not vanish for an input x of any task.
    """
    rng = stream(seed, "explain", "interference")
    errors, cosines, principal = [], [], []
    for _ in range(DRAWS):
        first, second = _pair(rng, width, rank, orthogonal=orthogonal)
        one, two = (_update(rng, a, density) for a in (first, second))
        cosines.append(float((one * two).sum() / (_size(one) * _size(two))))
        principal.append(principal_cosine(first, second))
        x = rng.standard_normal((width, 64))
        own, other = one @ x, two @ x
        errors.append(_size(other) / _size(own))
    return Interference(
        weight=tuple(SCALES.tolist()),
        error=tuple((SCALES * float(np.mean(errors))).tolist()),
        update_cosine=float(np.mean(cosines)),
        principal_cosine=float(np.mean(principal)),
    )


def principal_cosine(first: Matrix, second: Matrix) -> float:
    """sigma_max(Q_1^T Q_2) of orthonormal bases of the rows: 1 where they share a direction."""
    bases = [np.linalg.qr(rows.T)[0] for rows in (first, second)]
    return float(min(1.0, np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)[0]))


def _pair(
    rng: np.random.Generator, width: int, rank: int, *, orthogonal: bool
) -> tuple[Matrix, Matrix]:
    rows = rng.standard_normal((2 * rank, width))
    if orthogonal and 2 * rank <= width:
        rows = np.linalg.qr(rows.T)[0].T * math.sqrt(width)
    return rows[:rank], rows[rank:]


def _update(rng: np.random.Generator, a: Matrix, density: float) -> Matrix:
    b = rng.standard_normal((a.shape[1], len(a))) * (rng.random((a.shape[1], len(a))) < density)
    update: Matrix = b @ a
    return update if update.any() else update + 1e-12


def _size(matrix: Matrix) -> float:
    return float(np.linalg.norm(matrix))


@dataclass(frozen=True)
class Collisions:
    """Collisions of masks in a cluster, by formula for 1, 2, ... devices, and in one real draw."""

    devices: tuple[int, ...]
    analytic: tuple[float, ...]  # Eq. 19
    felt: tuple[float, ...]  # of a device's own entries, those that another holds too
    holders: tuple[tuple[int, ...], ...]  # of each entry of a small B
    drawn: float  # share of entries with two holders or more
    drawn_felt: float


def collisions(devices: int, density: float, seed: int) -> Collisions:
    """Collision rates of devices with masks of one density, drawn independently (M15, M16)."""
    counts = range(1, DEVICES_MOST + 1)
    masks: Bool[np.ndarray, "m p"] = (
        stream(seed, "explain", "collisions").random((devices, math.prod(PIXELS))) < density
    )
    overlap = own_overlap(masks)
    return Collisions(
        devices=tuple(counts),
        analytic=tuple(float(collision_rate(np.full(n, density))) for n in counts),
        felt=tuple(float(own_collision(np.full(n, density))[0]) for n in counts),
        holders=tuple(map(tuple, masks.sum(axis=0).reshape(PIXELS).tolist())),
        drawn=empirical_collision(masks),
        drawn_felt=float(overlap.mean()),
    )


@dataclass(frozen=True)
class Subspaces:
    """How far apart random row spaces are, by rank."""

    rank: tuple[int, ...]
    mean: tuple[float, ...]  # principal cosine, mean over draws
    low: tuple[float, ...]
    high: tuple[float, ...]


def subspaces(width: int, seed: int) -> Subspaces:
    """Largest cosine between two random row spaces of rank 1, 2, ... in a layer of some width.

    They share a direction for sure where 2 rank > width; long before that the cosine is near 1.
    The paper takes random A to be orthogonal (arXiv 2602.20492, Lemma 2), which holds for
    rank << width only.
    """
    rng = stream(seed, "explain", "subspaces")
    most = max(1, width * 3 // 4)
    ranks = sorted({max(1, round(most * share)) for share in np.linspace(0.01, 1.0, 20)})
    found = [
        [principal_cosine(*_pair(rng, width, rank, orthogonal=False)) for _ in range(DRAWS)]
        for rank in ranks
    ]
    return Subspaces(
        rank=tuple(ranks),
        mean=tuple(float(np.mean(each)) for each in found),
        low=tuple(float(min(each)) for each in found),
        high=tuple(float(max(each)) for each in found),
    )


@dataclass(frozen=True)
class Budget:
    """From transmit power to seconds. Curves are over distance."""

    power_dbm: float
    gain_db: float
    noise_dbm: float
    snr_db: float
    rate_bit_s: float
    seconds: float
    distance_m: tuple[float, ...]
    curve_s: tuple[float, ...]


def budget(distance_m: float, bandwidth_hz: float, power_dbm: float, payload_bits: float) -> Budget:
    """The link budget of one message over the paper's radio, at mean gain (M3, M4, M31).

        snr = P g / (N0 F B),   rate = B log2(1 + snr) averaged over fading,   t = bits / rate

    A device that sends to several neighbours splits band and power: then it takes longer.
    """
    config = c.RunConfig(channel=c.PaperChannel(bandwidth_hz=bandwidth_hz, tx_power_dbm=power_dbm))
    radio = build_channel(config)
    if not isinstance(radio, Radio):
        raise TypeError("the paper's channel is a radio")
    snr, rate = _quality(radio, distance_m)
    noise_w = radio.noise_w_hz * bandwidth_hz
    noise_dbm = ratio_to_db(noise_w) + 30.0
    distances = np.geomspace(1.0, 2000.0, 60)
    rates = [_quality(radio, float(each))[1] for each in distances]
    return Budget(
        power_dbm=power_dbm,
        gain_db=ratio_to_db(snr) - power_dbm + noise_dbm,
        noise_dbm=noise_dbm,
        snr_db=ratio_to_db(snr),
        rate_bit_s=rate,
        seconds=payload_bits / rate,
        distance_m=tuple(distances.round(2).tolist()),
        curve_s=tuple(payload_bits / each for each in rates),
    )


def _quality(radio: Radio, distance_m: float) -> tuple[float, float]:
    pair = np.array([[0.0, 0.0], [distance_m, 0.0]])
    linked = np.array([[False, True], [True, False]])
    quality = radio.quality(pair, linked, linked.astype(np.int64))
    return float(quality.mean_snr[1, 0]), float(quality.mean_rate_bit_s[1, 0])


@dataclass(frozen=True)
class Growth:
    """A mesh and the merges that make its clusters."""

    x_m: tuple[float, ...]
    y_m: tuple[float, ...]
    task: tuple[c.TaskName, ...]
    left: tuple[tuple[int, ...], ...]
    right: tuple[tuple[int, ...], ...]
    collision: tuple[float, ...]
    power_w: tuple[float, ...]


def growth(devices: int, density: float, collision_max: float, seed: int) -> Growth:
    """How the paper's clusters grow, merge by merge, until every pair would collide too much (M18).

    Source: arXiv 2602.20492, section IV-C.
    """
    config = c.RunConfig(
        seed=seed,
        fleet=c.Fleet(devices=devices),
        topology=c.Agnes(collision_max=collision_max),
        method=SoLora(density=density),
    )
    mesh = build_mesh(config)
    return Growth(
        x_m=tuple(mesh.positions[:, 0].round(2).tolist()),
        y_m=tuple(mesh.positions[:, 1].round(2).tolist()),
        task=tuple(config.fleet.task_of(i) for i in range(devices)),
        left=tuple(merge.left for merge in mesh.merges),
        right=tuple(merge.right for merge in mesh.merges),
        collision=tuple(merge.collision for merge in mesh.merges),
        power_w=tuple(merge.power_w for merge in mesh.merges),
    )
