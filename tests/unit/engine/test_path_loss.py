"""Path-loss laws: hand-computed values, and what any such law must keep.

All values are for 3.5 GHz: log10 3.5 = 0.544068.
"""

import math

import numpy as np
import pytest

from meshtune.engine.channels.path_loss import (
    InhOffice,
    LogDistance,
    PathLossModel,
    Shadowing,
    SidelinkHighway,
    SidelinkUrban,
    UmiStreetCanyon,
    free_space_gain,
    reference_gain,
)

CARRIER_HZ = 3.5e9
LOG = LogDistance(CARRIER_HZ, 3.0, Shadowing(6.0, 20.0))
MIXED = InhOffice(CARRIER_HZ, "mixed")
OPEN = InhOffice(CARRIER_HZ, "open")
UMI = UmiStreetCanyon(CARRIER_HZ, 10.0, 1.5)
URBAN = SidelinkUrban(CARRIER_HZ)
HIGHWAY = SidelinkHighway(CARRIER_HZ)
LAWS = {
    "log_distance": LOG,
    "inh_mixed": MIXED,
    "inh_open": OPEN,
    "umi": UMI,
    "urban": URBAN,
    "highway": HIGHWAY,
}
# Ends at 10 m and 1.5 m are 8.5 m apart in height: on the floor for d3 = 10, 100 and 1000 m.
UMI_M = [math.sqrt(d3**2 - 8.5**2) for d3 in (10.0, 100.0, 1000.0)]
# dBP = 4 * 9 * 0.5 * 3.5e9 / 299792458 = 210.1454 m, so the third lies beyond, where it loses
# 9.5 log10(210.1454^2 + 8.5^2) = 9.5 log10(44233.3) = 9.5 * 4.645749 = 44.1346 dB less.

LOSSES_DB = [
    # 4 pi / (c / f) = 4 pi / 0.0856550 m = 146.7094 per metre: 20 log10 = 43.3292 dB at one metre.
    (LOG, [1.0, 10.0, 100.0], [43.3292, 73.3292, 103.3292], [43.3292, 73.3292, 103.3292]),
    # LOS 32.4 + 10.8814 + 17.3 per decade; NLOS 17.3 + 13.5473 + 38.3 per decade, 30.8 < LOS at 1 m
    (MIXED, [1.0, 10.0, 100.0], [43.2814, 60.5814, 77.8814], [43.2814, 69.1473, 107.4473]),
    (OPEN, [1.0, 10.0, 100.0], [43.2814, 60.5814, 77.8814], [43.2814, 69.1473, 107.4473]),
    # LOS 32.4 + 10.8814 + 21, + 42, + 120 - 44.1346; NLOS 22.4 + 11.5886 + 35.3, 70.6, 105.9 - 0
    (UMI, UMI_M, [64.2814, 85.2814, 119.1467], [69.2886, 104.5886, 139.8886]),
    # LOS 38.77 + 9.9020 + 16.7 per decade; NLOS 36.85 + 10.2829 + 30 per decade, 47.1 < LOS at 1 m
    (URBAN, [1.0, 10.0, 100.0], [48.6720, 65.3720, 82.0720], [48.6720, 77.1329, 107.1329]),
    # LOS 32.4 + 10.8814 + 20 per decade; NLOS as urban, above LOS even at 1 m
    (HIGHWAY, [1.0, 10.0, 100.0], [43.2814, 63.2814, 83.2814], [47.1329, 77.1329, 107.1329]),
]

PROBS = [
    (LOG, [1.0, 1e5], [1.0, 1.0]),
    # exp(-(5.9 - 1.2) / 4.7) = exp(-1); 0.32 exp(-(39.1 - 6.5) / 32.6) = 0.32 exp(-1)
    # and next to the seam exp(-5.2 / 4.7) = exp(-1.106383), 0.32
    (MIXED, [1.2, 5.9, 6.4, 6.5, 39.1], [1.0, 0.367879, 0.330753, 0.32, 0.117721]),
    # exp(-(40.4 - 5) / 70.8) = exp(-1/2); 0.54 exp(-(260.7 - 49) / 211.7) = 0.54 exp(-1)
    # and next to the seam exp(-44 / 70.8) = exp(-0.621469), 0.54 exp(-1 / 211.7)
    (OPEN, [5.0, 40.4, 49.0, 50.0, 260.7], [1.0, 0.606531, 0.537155, 0.537455, 0.198655]),
    # (1/2)(1 - exp(-1)) + exp(-1) at 36 m; (1/4)(1 - exp(-2)) + exp(-2) at 72 m
    (UMI, [18.0, 36.0, 72.0], [1.0, 0.683940, 0.351501]),
    # 1.05 exp(-0.114) = 1.05 * 0.892258; 1.05 exp(-1.14) = 1.05 * 0.319819
    (URBAN, [1.0, 10.0, 100.0], [1.0, 0.936871, 0.335810]),
    # 0.021013 - 0.2 + 1.0193; 0.474106 - 0.95 + 1.0193; 0.54 - 0.3; 0.54 - 0.625 < 0
    (HIGHWAY, [5.0, 100.0, 475.0, 775.0, 1100.0], [1.0, 0.840313, 0.543406, 0.24, 0.0]),
]


def losses_db(law: PathLossModel, distances_m: np.ndarray, *, los: bool) -> np.ndarray:
    return law.loss_db(distances_m, np.full(distances_m.shape, los))


@pytest.mark.parametrize(("law", "at_m", "los_db", "nlos_db"), LOSSES_DB, ids=list(LAWS))
def test_the_loss_is_what_the_report_says(
    law: PathLossModel, at_m: list[float], los_db: list[float], nlos_db: list[float]
) -> None:
    distances_m = np.array(at_m)
    np.testing.assert_allclose(losses_db(law, distances_m, los=True), los_db, atol=2e-4)
    np.testing.assert_allclose(losses_db(law, distances_m, los=False), nlos_db, atol=2e-4)


@pytest.mark.parametrize(("law", "at_m", "probs"), PROBS, ids=list(LAWS))
def test_sight_is_as_likely_as_the_report_says(
    law: PathLossModel, at_m: list[float], probs: list[float]
) -> None:
    np.testing.assert_allclose(law.los_prob(np.array(at_m)), probs, atol=2e-6)


@pytest.mark.parametrize(
    ("law", "los", "nlos"),
    [
        (MIXED, Shadowing(3.0, 10.0), Shadowing(8.03, 6.0)),
        (UMI, Shadowing(4.0, 10.0), Shadowing(7.82, 13.0)),
        (URBAN, Shadowing(3.0, 10.0), Shadowing(4.0, 10.0)),
        (HIGHWAY, Shadowing(3.0, 25.0), Shadowing(4.0, 25.0)),
        (LOG, Shadowing(6.0, 20.0), Shadowing(6.0, 20.0)),
    ],
)
def test_shadowing_scatters_as_the_report_says(
    law: PathLossModel, los: Shadowing, nlos: Shadowing
) -> None:
    assert (law.los, law.nlos) == (los, nlos)


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_farther_is_never_less_loss_and_out_of_sight_never_less_than_in_sight(
    law: PathLossModel,
) -> None:
    distances_m = np.geomspace(0.01, 1e5, 2001)
    los_db, nlos_db = (losses_db(law, distances_m, los=los) for los in (True, False))
    # UMi changes its slope at the breakpoint, where the two branches agree to rounding.
    assert (np.diff(los_db) >= -1e-9).all()
    assert (np.diff(nlos_db) >= -1e-9).all()
    assert (nlos_db >= los_db).all()


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_the_chance_of_sight_is_a_probability_that_is_one_close_by(law: PathLossModel) -> None:
    prob = law.los_prob(np.geomspace(0.01, 1e5, 2001))
    assert ((prob >= 0.0) & (prob <= 1.0)).all()
    assert prob[0] == 1.0


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_closer_than_one_metre_counts_as_one_metre(law: PathLossModel) -> None:
    close_m = np.array([0.0, 0.5, 1.0])
    for los in (True, False):
        assert len(set(losses_db(law, close_m, los=los))) == 1


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_each_pair_has_the_loss_of_its_own_state(law: PathLossModel) -> None:
    distances_m = np.array([[30.0, 300.0], [3.0, 3000.0]])
    los = np.array([[True, False], [False, True]])
    mixed_db = law.loss_db(distances_m, los)
    for at in np.ndindex(2, 2):
        one_db = losses_db(law, distances_m[at].reshape(1), los=bool(los[at]))
        assert mixed_db[at] == one_db[0]


def test_the_two_branches_of_the_street_meet_at_the_breakpoint() -> None:
    break_m = 4.0 * 9.0 * 0.5 * CARRIER_HZ / 299_792_458.0
    around_m = break_m * np.array([1.0 - 1e-9, 1.0 + 1e-9])
    near_db, far_db = losses_db(UMI, around_m, los=True)
    assert far_db == pytest.approx(near_db, abs=1e-6)
    # And four times the distance costs 40 dB per decade beyond it, 24.08 dB.
    beyond_m = break_m * np.array([10.0, 40.0])
    one_db, four_db = losses_db(UMI, beyond_m, los=True)
    assert four_db - one_db == pytest.approx(24.08, abs=0.01)


def test_free_space_loses_the_square_of_the_distance_and_never_amplifies() -> None:
    # (0.0856550 m / 4 pi)^2 = 4.64610e-5 at one metre.
    assert reference_gain(CARRIER_HZ) == pytest.approx(4.64610e-5, rel=1e-5)
    gain = free_space_gain(np.array([0.0, 1.0, 10.0, 200.0]), CARRIER_HZ)
    np.testing.assert_allclose(gain, 4.64610e-5 / np.array([1.0, 1.0, 100.0, 40000.0]), rtol=1e-5)
    # At 1 MHz the law would give 569 at one metre.
    assert free_space_gain(np.array([1.0]), 1e6)[0] == 1.0
