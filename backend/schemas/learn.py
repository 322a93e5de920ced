"""The wire contract of Learn; engine/explain/experiments.py says what each number means."""

from meshtune.backend.schemas.runs import Wire
from meshtune.engine.config import TaskName


class InterferenceOut(Wire):
    """Two adapters that answer one input."""

    weight: list[float]
    error: list[float]
    update_cosine: float
    principal_cosine: float


class CollisionsOut(Wire):
    """Collisions of masks, by formula and in one real draw."""

    devices: list[int]
    analytic: list[float]
    felt: list[float]
    holders: list[list[int]]
    drawn: float
    drawn_felt: float


class SubspacesOut(Wire):
    """How far apart random row spaces are, by rank."""

    rank: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


class BudgetOut(Wire):
    """From transmit power to seconds."""

    power_dbm: float
    gain_db: float
    noise_dbm: float
    snr_db: float
    rate_bit_s: float
    seconds: float
    distance_m: list[float]
    curve_s: list[float]


class GrowthOut(Wire):
    """A mesh and the merges that make its clusters."""

    x_m: list[float]
    y_m: list[float]
    task: list[TaskName]
    left: list[list[int]]
    right: list[list[int]]
    collision: list[float]
    power_w: list[float]


class RoutingOut(Wire):
    """Unseen prompts, prototypes of tasks, and who would answer."""

    task: list[TaskName]
    prompt: list[str]
    x: list[float]
    y: list[float]
    chosen: list[TaskName]
    similarity: list[list[float]]
    prototype_x: list[float]
    prototype_y: list[float]
    right_fraction: float
