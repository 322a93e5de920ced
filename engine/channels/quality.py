"""What a link is worth on average: how much it carries, and how often it loses a message."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from meshtune.engine.channels.access import PerLink
from meshtune.engine.channels.capacity import RateRule, mean_efficiency, outage_prob, waterfall_loss
from meshtune.engine.channels.fading import Fading, FadingLaw
from meshtune.engine.channels.hop import ROUNDING, ratio

GRID = 4096
FADES = 128  # over which losses without a closed form are averaged


@dataclass(frozen=True)
class Reliability:
    """What breaks a message besides the deadline, and how often it is tried."""

    loss: Literal["deadline", "waterfall", "outage"] = "deadline"
    threshold: float = 1.0  # of the waterfall, linear
    margin: float = 1.0  # of the outage, linear
    tries: int = 1


@dataclass(frozen=True)
class Expectation:
    """Means over the fading of links, of which a message is lost as `reliability` says."""

    rule: RateRule
    fading: Fading
    reliability: Reliability

    def exact(self, mean: PerLink, needed: PerLink) -> tuple[PerLink, PerLink]:
        """Mean efficiency and loss of links without interference, in closed form.

        `mean` is the mean SNR, `needed` the efficiency at which one try just meets the deadline.
        """
        law, rule = self.fading.law, self.rule
        if self.reliability.loss == "deadline":
            return mean_efficiency(law, rule, mean), outage_prob(law, rule, mean, needed)
        aimed = rule.efficiency(mean / self.reliability.margin)
        return aimed, self._after_tries(outage_prob(law, rule, mean, aimed), aimed, needed)

    def sampled(
        self, mean: PerLink, sinr: Float64[np.ndarray, "m s"], needed: PerLink
    ) -> tuple[PerLink, PerLink]:
        """The same averaged over equally likely fades `sinr` of every link."""
        efficiency = self.rule.efficiency(sinr)
        if self.reliability.loss == "outage":
            aimed = self.rule.efficiency(mean / self.reliability.margin)
            faded = (efficiency < aimed[:, None]).mean(axis=1)
            return aimed, self._after_tries(faded, aimed, needed)
        fit = np.floor(ratio(efficiency, needed[:, None]) + ROUNDING)
        lost = (fit < 1).astype(np.float64)
        if self.reliability.loss == "waterfall":  # the tries of one message share their fade
            broken = waterfall_loss(sinr, self.reliability.threshold)
            lost = broken ** np.minimum(fit, self.reliability.tries)
        return np.asarray(efficiency.mean(axis=1)), np.asarray(lost.mean(axis=1))

    def _after_tries(self, loss: PerLink, aimed: PerLink, needed: PerLink) -> PerLink:
        """Loss after all tries that fit into the deadline, each under a fading of its own."""
        most = 1 if self.fading.correlation is not None else self.reliability.tries
        fit = np.minimum(np.floor(ratio(aimed, needed) + ROUNDING), most)
        return np.asarray(np.where(fit < 1, 1.0, loss**fit))


def quantiles(law: FadingLaw, count: int) -> Float64[np.ndarray, " count"]:
    """`count` equally likely gains of a law: the middles of as many equal slices."""
    low, high = law.ends()
    if low == high:
        return np.full(count, low)
    gain = np.linspace(np.sqrt(low), np.sqrt(high), GRID) ** 2
    return np.interp((np.arange(count) + 0.5) / count, law.below_prob(gain), gain)
