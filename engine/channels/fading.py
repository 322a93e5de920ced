"""Fading: by how much echoes raise or lower the mean gain of a link, from round to round."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, assert_never, runtime_checkable

import numpy as np
from jaxtyping import Complex128, Float64

from meshtune.engine import config as c
from meshtune.engine.rng import stream
from meshtune.engine.units import LIGHT_SPEED_M_S, db_to_ratio

# What is less likely than e^-40 = 4e-18 changes no double.
RARE_NATS = 40.0
GRID = 4096
# Power of the echo where the Nakagami map is tabulated; beyond it goes on as a power of the echo.
FAINTEST, LOUDEST = 1e-18, 120.0


@runtime_checkable
class FadingLaw(Protocol):
    """Distribution of the power gain rho of a link: not negative, mean one (docs/model.md M21)."""

    def __hash__(self) -> int:
        """Equal laws share their tables."""
        ...

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Float64[np.ndarray, "*s"]:
        """Independent gains."""
        ...

    def of_echo(self, echo: Complex128[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """Gains of this law for a sum of echoes: complex Gaussian of mean power one."""
        ...

    def exceed_prob(self, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """P(rho >= gain)."""
        ...

    def below_prob(self, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """P(rho < gain), accurate also where it is tiny."""
        ...

    def ends(self) -> tuple[float, float]:
        """Two gains: a fade is below the first, or above the second, with less than e^-40 each."""
        ...


@dataclass(frozen=True)
class Steady:
    """No fading: the gain is one."""

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Float64[np.ndarray, "*s"]:
        return np.ones(shape)

    def of_echo(self, echo: Complex128[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        return np.ones(echo.shape)

    def exceed_prob(self, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        reached: Float64[np.ndarray, "*s"] = (gain <= 1.0).astype(np.float64)
        return reached

    def below_prob(self, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        missed: Float64[np.ndarray, "*s"] = (gain > 1.0).astype(np.float64)
        return missed

    def ends(self) -> tuple[float, float]:
        return 1.0, 1.0


@dataclass(frozen=True)
class RayleighLaw:
    """Many echoes and no direct ray: Exp(1), variance one.

        P(rho > g) = exp(-g)

    Source: Tse & Viswanath, Fundamentals of Wireless Communication (2005), section 2.4.2.
    """

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Float64[np.ndarray, "*s"]:
        return rng.standard_exponential(shape)

    def of_echo(self, echo: Complex128[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        return power(echo)

    def exceed_prob(self, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        reached: Float64[np.ndarray, "*s"] = np.exp(-gain)
        return reached

    def below_prob(self, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        missed: Float64[np.ndarray, "*s"] = -np.expm1(-gain)
        return missed

    def ends(self) -> tuple[float, float]:
        return 0.0, RARE_NATS


@dataclass(frozen=True)
class RicianLaw:
    """A direct ray of K times the mean power of the echoes z around it.

        rho = |sqrt(K) + z|^2 / (1 + K),   P(rho > g) = Q1(sqrt(2 K), sqrt(2 (1 + K) g))

    Q1 is Marcum's Q, so that 2 (1 + K) rho is noncentral chi-square with two degrees of freedom
    and noncentrality 2 K. Variance (1 + 2 K) / (1 + K)^2. The direct ray keeps its phase
    (our choice; one that turns would let gains forget faster, and change no round by itself).
    Above the mean, `exceed_prob` is exact to 1e-14 in absolute terms only.
    Source: Simon & Alouini, Digital Communication over Fading Channels (2005), section 2.2.1.2.

    Attributes:
        k: Power of the direct ray over that of the echoes, linear.
    """

    k: float

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Float64[np.ndarray, "*s"]:
        return self.of_echo(echoes(rng, shape))

    def of_echo(self, echo: Complex128[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        gain: Float64[np.ndarray, "*s"] = power(math.sqrt(self.k) + echo) / (1.0 + self.k)
        return gain

    def exceed_prob(self, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        reached: Float64[np.ndarray, "*s"] = 1.0 - self.below_prob(gain)
        return reached

    def below_prob(self, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        from scipy import special

        missed: Float64[np.ndarray, "*s"] = special.chndtr(
            2.0 * (1.0 + self.k) * gain, 2.0, 2.0 * self.k
        )
        return missed

    def ends(self) -> tuple[float, float]:
        # The echoes are longer than sqrt(40) with probability e^-40, and move the ray no farther.
        ray, echo = math.sqrt(self.k), math.sqrt(RARE_NATS)
        return max(ray - echo, 0.0) ** 2 / (1.0 + self.k), (ray + echo) ** 2 / (1.0 + self.k)


@dataclass(frozen=True)
class NakagamiLaw:
    """Gamma-distributed power of shape m and mean one; variance 1 / m. Rayleigh for m = 1.

        P(rho > g) = Gamma(m, m g) / Gamma(m)

    Source: Simon & Alouini, Digital Communication over Fading Channels (2005), section 2.2.1.4.

    Attributes:
        m: Shape, at least one half.
    """

    m: float

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Float64[np.ndarray, "*s"]:
        gain: Float64[np.ndarray, "*s"] = rng.standard_gamma(self.m, shape) / self.m
        return gain

    def of_echo(self, echo: Complex128[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        """The gain that is as rare as this echo: P(rho > gain) = exp(-|echo|^2).

        The law itself has no Gaussian picture unless 2 m is whole; with this map m = 1 is Rayleigh,
        and gains of remembered echoes correlate by r^2 as there, less 0.05 at most (measured for m
        up to 100; our choice). Tabulated over log |echo|^2: the gain is
        wrong by a factor of at most 1 +- 1e-5.
        """
        log_echo, log_gain = _nakagami_map(self.m)
        with np.errstate(divide="ignore"):  # no echo at all: no gain
            wanted = np.log(power(echo))
        beyond = np.minimum(wanted - log_echo[0], 0.0) / self.m
        gain: Float64[np.ndarray, "*s"] = np.exp(np.interp(wanted, log_echo, log_gain) + beyond)
        return gain

    def exceed_prob(self, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        from scipy import special

        reached: Float64[np.ndarray, "*s"] = special.gammaincc(self.m, self.m * gain)
        return reached

    def below_prob(self, gain: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
        from scipy import special

        missed: Float64[np.ndarray, "*s"] = special.gammainc(self.m, self.m * gain)
        return missed

    def ends(self) -> tuple[float, float]:
        from scipy import special

        # Chernoff: both tails are below exp(-m (g - 1 - ln g)); solved for m (...) = 40.
        rare = -math.exp(-1.0 - RARE_NATS / self.m)
        low, high = (-float(special.lambertw(rare, branch).real) for branch in (0, -1))
        return low, high


def fading_law(chosen: c.Fading) -> FadingLaw:
    """The law that the config names, its decibels turned linear."""
    match chosen:
        case c.NoFading():
            return Steady()
        case c.Rayleigh():
            return RayleighLaw()
        case c.Rician():
            return RicianLaw(db_to_ratio(chosen.k_db))
        case c.Nakagami():
            return NakagamiLaw(chosen.m)
        case _:
            assert_never(chosen)


@dataclass(frozen=True)
class Fading:
    """The fades of a run: drawn from named streams, for all pairs, whoever sends.

    So every method meets the same fading at the same seed. Reciprocal: both directions of a pair
    fade alike (our choice). Without correlation each round, and each further attempt in it, is
    drawn anew. With a correlation r the echoes of a pair go on from round to round,

        h_0 = w_0,   h_t = r h_(t-1) + sqrt(1 - r^2) w_t,   w_t complex Gaussian of mean power one,

    and all attempts of a round meet the same fade (our choice). The gain then correlates by r^2
    from one round to the next under Rayleigh. Over k rounds the process keeps r^k, not the
    J0(k x) of Jakes's spectrum. Source: Baddour & Beaulieu, Autoregressive modeling for fading
    channel simulation, IEEE Trans. Wireless Commun. 4(4) (2005), order one; docs/model.md M21.

    Attributes:
        law: Distribution of the gain.
        seed: Of the run.
        correlation: Of the echoes from round to round, -1 to 1; None draws every round anew.
    """

    law: FadingLaw
    seed: int
    correlation: float | None
    # The echoes of the last round asked for, by number of devices: rounds mostly come in order.
    _last: dict[int, tuple[int, Complex128[np.ndarray, " pairs"]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Refuse a correlation that is none."""
        if self.correlation is not None and not -1.0 <= self.correlation <= 1.0:
            raise ValueError(f"correlation is {self.correlation:g}, must be from -1 to 1")

    def gain(self, devices: int, round_index: int, attempt: int = 0) -> Float64[np.ndarray, "n n"]:
        """Power gain rho of every pair in this round, mean one; symmetric, the diagonal unused."""
        if isinstance(self.law, Steady):
            return np.ones((devices, devices))
        if self.correlation is None:
            names = () if attempt == 0 else ("attempt", attempt)
            rng = stream(self.seed, "channel", "fading", round_index, *names)
            upper = np.triu(self.law.draw(rng, (devices, devices)), k=1)
        else:
            upper = np.zeros((devices, devices))
            echo = self._echo(devices, round_index, self.correlation)
            upper[~np.tri(devices, dtype=bool)] = self.law.of_echo(echo)
        gain: Float64[np.ndarray, "n n"] = upper + upper.T
        return gain

    def _echo(
        self, devices: int, round_index: int, correlation: float
    ) -> Complex128[np.ndarray, " pairs"]:
        """Echoes of every pair; the same bits whether rounds come in order or not."""
        # Nothing changes at correlation one, so the first round stands for all.
        wanted = 0 if correlation == 1.0 else round_index
        reached, echo = self._last.get(devices, (-1, np.empty(0, dtype=np.complex128)))
        if reached > wanted:
            reached = -1
        for k in range(reached + 1, wanted + 1):
            rng = stream(self.seed, "channel", "fading", k, "echoes")
            fresh = echoes(rng, (devices * (devices - 1) // 2,))
            kept = math.sqrt(1.0 - correlation**2)
            echo = fresh if k == 0 else correlation * echo + kept * fresh
        self._last[devices] = (wanted, echo)
        return echo


def echoes(rng: np.random.Generator, shape: tuple[int, ...]) -> Complex128[np.ndarray, "*s"]:
    """Independent complex Gaussians of mean power one."""
    parts = rng.standard_normal((*shape, 2))
    parts *= math.sqrt(0.5)
    drawn: Complex128[np.ndarray, "*s"] = parts.view(np.complex128)[..., 0]
    return drawn


def power(wave: Complex128[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """Squared magnitude."""
    squared: Float64[np.ndarray, "*s"] = wave.real**2 + wave.imag**2
    return squared


@lru_cache(maxsize=16)
def _nakagami_map(
    m: float,
) -> tuple[Float64[np.ndarray, " grid"], Float64[np.ndarray, " grid"]]:
    """Logarithms of |echo|^2 and of the gain that is equally rare under shape m."""
    from scipy import special

    log_echo = np.linspace(math.log(FAINTEST), math.log(LOUDEST), GRID)
    exponent = np.exp(log_echo)
    # Each tail by its own inverse: the other one would round to one.
    low = special.gammaincinv(m, -np.expm1(-exponent))
    high = special.gammainccinv(m, np.exp(-exponent))
    return log_echo, np.log(np.where(exponent < 0.5, low, high) / m)


def jakes_correlation(speed_m_s: float, carrier_hz: float, interval_s: float) -> float:
    """Correlation of the echoes of a link after an interval: J0(2 pi fD T), fD = v f / c (M21).

    `speed_m_s` is the speed of the path between both ends. We put in the mean speed of one device,
    as if the other end and the surroundings stood still (our choice): with both ends moving among
    still surroundings the correlation would be the product of both, J0^2 at equal speeds (Akki &
    Haber, IEEE Trans. Veh. Technol. 35(1), 1986). It is below one half as soon as a device moves a
    quarter of a wavelength, so rounds of seconds are independent for whoever walks.
    Source: Clarke, A statistical theory of mobile-radio reception, Bell Syst. Tech. J. 47 (1968).
    """
    from scipy import special

    doppler_hz = speed_m_s * carrier_hz / LIGHT_SPEED_M_S
    return float(special.j0(2.0 * math.pi * doppler_hz * interval_s))


def mean_speed_m_s(mobility: c.Mobility, leg_m: float = math.inf) -> float:
    """Long-run mean speed of a device, in m/s.

    Random waypoint: a leg of length D at speed v, uniform between a and b, takes D / v; then a
    rest. Slow legs last longer, so the mean over time is below (a + b) / 2:

        E[D] / (E[D] ln(b / a) / (b - a) + rest)

    Gauss-Markov: the speed of the config.

    Args:
        mobility: How devices move.
        leg_m: Mean length of a leg, E[D]; 128 R / (45 pi) between random places in a disc of
            radius R. Infinite leaves rests out: the mean speed of who walks.

    Raises:
        ValueError: for a trace, whose speed is in its places alone.

    Source: Yoon, Liu & Noble, Random waypoint considered harmful, INFOCOM (2003).
    """
    match mobility:
        case c.Static():
            return 0.0
        case c.RandomWaypoint():
            slowest, fastest = mobility.speed_min_m_s, mobility.speed_max_m_s
            spread = (fastest - slowest) / slowest
            pace_s_m = math.log1p(spread) / (spread * slowest) if spread > 0.0 else 1.0 / slowest
            return 1.0 / (pace_s_m + mobility.pause_s / leg_m)
        case c.GaussMarkov():
            return mobility.speed_m_s
        case c.Trace():
            raise ValueError(
                "the speed of a trace is in its file; divide the steps between its places by "
                "interval_s, or choose a new gain every round (coherence 'round')"
            )
        case _:
            assert_never(mobility)
