"""Mean gain of links: path loss, who sees whom, and shadowing, put together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, assert_never, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine import config as c
from meshtune.engine.channels import path_loss as laws
from meshtune.engine.channels.gain_table import load_gain_table
from meshtune.engine.channels.shadowing import PairField
from meshtune.engine.geometry import distances_m
from meshtune.engine.units import db_to_ratios


@runtime_checkable
class Propagation(Protocol):
    """What the air leaves of a signal, averaged over fading."""

    def gain(
        self, positions: Float64[np.ndarray, "n 2"], round_index: int
    ) -> Float64[np.ndarray, "n n"]:
        """Linear power gain of every pair, 0 to 1; the diagonal is finite and means nothing.

        Zero is a link that a gain table does not have.
        """
        ...

    def link_gain(
        self,
        positions: Float64[np.ndarray, "n 2"],
        receivers: Int64[np.ndarray, " m"],
        senders: Int64[np.ndarray, " m"],
        round_index: int,
    ) -> Float64[np.ndarray, " m"]:
        """`gain()[receivers, senders]`, to rounding, without the other pairs."""
        ...


@dataclass(frozen=True)
class FreeSpace:
    """Nothing in the way and nothing random (docs/model.md M3)."""

    carrier_hz: float

    def gain(
        self, positions: Float64[np.ndarray, "n 2"], round_index: int
    ) -> Float64[np.ndarray, "n n"]:
        """The gain of `path_loss.free_space_gain`, equal in all rounds."""
        return laws.free_space_gain(distances_m(positions), self.carrier_hz)

    def link_gain(
        self,
        positions: Float64[np.ndarray, "n 2"],
        receivers: Int64[np.ndarray, " m"],
        senders: Int64[np.ndarray, " m"],
        round_index: int,
    ) -> Float64[np.ndarray, " m"]:
        """The gain of some links, the same to the bit."""
        return laws.free_space_gain(_apart_m(positions, receivers, senders), self.carrier_hz)


# A field at a decorrelation distance, on the pairs that the caller has in mind.
OnPairs = Callable[[PairField, float], Float64[np.ndarray, "*s"]]


@dataclass(frozen=True)
class LargeScale:
    """A law of distance, the state of each pair, and shadowing of that state (M19, M20).

        los  = [Phi(S_los(p, q)) < P_LOS(d)]                 D of the law's state in sight
        gain = min(10^(-(PL(d, los) + sigma_los S(p, q)) / 10), 1)       sigma and D of the state

    Both fields S belong to the places, so who stays keeps its gain and who comes back finds it
    again; both directions of a pair have one gain. The state switches hard as a device moves, and
    with it loss and shadowing jump (our choice). Without shadowing the state is drawn all the same.
    """

    law: laws.PathLossModel
    sight: PairField
    shadowing: PairField | None

    def gain(
        self, positions: Float64[np.ndarray, "n 2"], round_index: int
    ) -> Float64[np.ndarray, "n n"]:
        """Gain of every pair, symmetric to the bit and equal in all rounds while nobody moves."""
        return self._gain(
            distances_m(positions),
            lambda field, decorrelation_m: field.matrix(positions, decorrelation_m),
        )

    def link_gain(
        self,
        positions: Float64[np.ndarray, "n 2"],
        receivers: Int64[np.ndarray, " m"],
        senders: Int64[np.ndarray, " m"],
        round_index: int,
    ) -> Float64[np.ndarray, " m"]:
        """Gain of some links; both directions of a pair are computed once."""
        keys = np.minimum(receivers, senders) * len(positions) + np.maximum(receivers, senders)
        pairs, back = np.unique(keys, return_inverse=True)
        ends = np.divmod(pairs, len(positions))
        gain = self._gain(
            _apart_m(positions, *ends),
            lambda field, decorrelation_m: field.links(positions, ends, decorrelation_m),
        )
        return gain[back]

    def _gain(
        self, apart_m: Float64[np.ndarray, "*s"], on_pairs: OnPairs
    ) -> Float64[np.ndarray, "*s"]:
        from scipy.special import ndtr

        law = self.law
        los_prob = law.los_prob(apart_m)
        if (los_prob >= 1.0).all():
            los = np.ones(apart_m.shape, dtype=np.bool_)
        else:
            los = ndtr(on_pairs(self.sight, law.los.decorrelation_m)) < los_prob
        loss_db = law.loss_db(apart_m, los)
        if self.shadowing is not None:
            in_sight = on_pairs(self.shadowing, law.los.decorrelation_m)
            behind = in_sight
            if law.nlos.decorrelation_m != law.los.decorrelation_m:
                behind = on_pairs(self.shadowing, law.nlos.decorrelation_m)
            loss_db = loss_db + np.where(
                los, law.los.sigma_db * in_sight, law.nlos.sigma_db * behind
            )
        return np.asarray(np.minimum(db_to_ratios(-loss_db), 1.0))


def build_propagation(
    path_loss: c.PathLoss, carrier_hz: float, shadowing: Literal["model", "none"], seed: int
) -> Propagation:
    """The propagation that a config asks for.

    `shadowing` is left out of free space, which has none, and of tables, whose gains are complete.

    Raises:
        AssetMissing: the gain table is not in its folder, or is another file.
        ConfigMismatch: the gain table does not hold gains.
    """
    match path_loss:
        case c.FreeSpace():
            return FreeSpace(carrier_hz)
        case c.GainTable():
            return load_gain_table(path_loss.name, path_loss.sha256)
        case _:
            return LargeScale(
                law=_law(path_loss, carrier_hz),
                sight=PairField.drawn(seed, "los"),
                shadowing=PairField.drawn(seed, "shadowing") if shadowing == "model" else None,
            )


def _law(
    path_loss: c.LogDistance
    | c.InhOffice
    | c.UmiStreetCanyon
    | c.SidelinkUrban
    | c.SidelinkHighway,
    carrier_hz: float,
) -> laws.PathLossModel:
    match path_loss:
        case c.LogDistance():
            scatter = laws.Shadowing(path_loss.shadowing_db, path_loss.decorrelation_m)
            return laws.LogDistance(carrier_hz, path_loss.exponent, scatter)
        case c.InhOffice():
            return laws.InhOffice(carrier_hz, path_loss.office)
        case c.UmiStreetCanyon():
            return laws.UmiStreetCanyon(carrier_hz, path_loss.high_end_m, path_loss.low_end_m)
        case c.SidelinkUrban():
            return laws.SidelinkUrban(carrier_hz)
        case c.SidelinkHighway():
            return laws.SidelinkHighway(carrier_hz)
        case _:
            assert_never(path_loss)


def _apart_m(
    positions: Float64[np.ndarray, "n 2"],
    one: Int64[np.ndarray, " m"],
    other: Int64[np.ndarray, " m"],
) -> Float64[np.ndarray, " m"]:
    offsets = positions[one] - positions[other]
    apart_m: Float64[np.ndarray, " m"] = np.hypot(offsets[:, 0], offsets[:, 1])
    return apart_m
