"""Devices that move: the laws of their paths."""

import math
from pathlib import Path

import numpy as np
import pytest

from meshtune.engine import config as c
from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.topology import motion
from meshtune.engine.topology.disc import Disc
from meshtune.engine.topology.gauss_markov import Drift, GaussMarkovLaw, reflected
from meshtune.engine.topology.motion import (
    Motion,
    Moving,
    area_centre_m,
    area_of,
    area_radius_m,
    build_motion,
)
from meshtune.engine.topology.traces import SUFFIXES, read_trace
from meshtune.engine.topology.waypoint import WaypointLaw

RADIUS_M = 100.0
WALKS: list[c.Mobility] = [
    c.RandomWaypoint(),
    c.RandomWaypoint(pause_s=25.0, interval_s=300.0),
    c.RandomWaypoint(speed_min_m_s=3.0, speed_max_m_s=3.0),
    c.GaussMarkov(),
    c.GaussMarkov(memory=0.0, speed_m_s=40.0),
    c.GaussMarkov(memory=0.99, interval_s=60.0),
]
walks = pytest.mark.parametrize("mobility", WALKS, ids=str)


def disc_places(devices: int, radius_m: float = RADIUS_M) -> np.ndarray:
    rng = np.random.default_rng(devices)
    out, turn = radius_m * np.sqrt(rng.random(devices)), 2.0 * np.pi * rng.random(devices)
    return np.stack([out * np.cos(turn), out * np.sin(turn)], axis=1)


def built(mobility: c.Mobility, devices: int = 7, seed: int = 3) -> Motion:
    return build_motion(mobility, disc_places(16)[:devices], RADIUS_M, seed)


def path(walk: Motion, rounds: int) -> np.ndarray:
    return np.stack([walk.places(k) for k in range(rounds)])


def law_of(walk: Motion, kind: type) -> object:
    assert isinstance(walk, Moving)
    assert isinstance(walk.law, kind)
    return walk.law


def test_static_places_are_the_start_itself():
    start = disc_places(4)
    walk = build_motion(c.Static(), start, RADIUS_M, 0)
    assert walk.places(0) is start
    assert walk.places(9) is start


@walks
def test_the_first_places_are_the_start_to_the_bit(mobility):
    assert np.array_equal(built(mobility).places(0), disc_places(16)[:7])


@walks
def test_one_seed_has_one_path_and_another_seed_another(mobility):
    one = path(built(mobility), 12)
    assert np.array_equal(one, path(built(mobility), 12))
    other = path(built(mobility, seed=4), 12)
    assert (np.abs(one - other)[1:].max(axis=(0, 2)) > 0.0).all()  # of every device


@walks
def test_the_path_of_a_device_does_not_depend_on_how_many_there_are(mobility):
    assert np.array_equal(path(built(mobility, 16), 70)[:, :5], path(built(mobility, 5), 70))


@walks
def test_rounds_asked_in_any_order_give_the_same_bits(mobility):
    forwards = path(built(mobility), 140)
    walk = built(mobility)
    for k in (139, 138, 0, 64, 63, 65, 128, 5, 139, 127, 1):
        assert np.array_equal(walk.places(k), forwards[k])
    assert np.array_equal(built(mobility).places(77), forwards[77])


@walks
def test_nobody_leaves_the_disc(mobility):
    places = path(built(mobility), 300)
    assert np.isfinite(places).all()
    assert np.hypot(places[..., 0], places[..., 1]).max() <= RADIUS_M * (1.0 + 1e-12)


@walks
def test_everybody_moves(mobility):
    assert (np.ptp(path(built(mobility), 100), axis=0) > 5.0).all()


def test_the_disc_of_motion_stands_around_its_centre():
    centre = np.array([1000.0, -500.0])
    for mobility in WALKS:
        walk = build_motion(mobility, disc_places(6) + centre, RADIUS_M, 1, (1000.0, -500.0))
        offsets = path(walk, 200) - centre
        assert np.hypot(offsets[..., 0], offsets[..., 1]).max() <= RADIUS_M * (1.0 + 1e-9)


@walks
def test_a_start_outside_the_disc_widens_it(mobility):
    start = np.array([[0.0, 0.0], [130.0, 0.0]])
    places = path(build_motion(mobility, start, RADIUS_M, 2), 60)
    assert np.array_equal(places[0], start)
    assert np.hypot(places[..., 0], places[..., 1]).max() <= 130.0 * (1.0 + 1e-12)


@pytest.mark.parametrize("pause_s", [0.0, 40.0])
def test_nobody_is_faster_than_the_fastest(pause_s):
    mobility = c.RandomWaypoint(speed_min_m_s=0.7, speed_max_m_s=1.9, pause_s=pause_s)
    steps = np.diff(path(built(mobility, 16), 400), axis=0)
    assert np.hypot(steps[..., 0], steps[..., 1]).max() <= 1.9 * 10.0 * (1.0 + 1e-9)


def test_one_speed_without_rest_is_walked_all_the_time():
    # Sampled so finely that turns hardly shorten the way.
    mobility = c.RandomWaypoint(speed_min_m_s=2.0, speed_max_m_s=2.0, interval_s=0.05)
    steps = np.diff(path(built(mobility, 8), 2000), axis=0)
    lengths = np.hypot(steps[..., 0], steps[..., 1])
    straight = np.isclose(lengths, 0.1, rtol=1e-6)
    assert straight.mean() > 0.99
    assert lengths.max() <= 0.1 * (1.0 + 1e-6)


@pytest.mark.parametrize(("interval_s", "pause_s"), [(10.0, 0.0), (400.0, 30.0), (1.0, 5.0)])
def test_places_lie_on_the_path_walked_leg_by_leg(interval_s, pause_s):
    mobility = c.RandomWaypoint(interval_s=interval_s, pause_s=pause_s)
    walk = built(mobility, 5)
    law = law_of(walk, WaypointLaw)
    start = law.first()
    for device in range(5):
        times, points = [0.0], [start.origin[device]]
        times += [float(start.arrive_s[device]), float(start.leave_s[device])]
        points += [start.target[device]] * 2
        number = 0
        while times[-1] < 50 * interval_s:
            target, speed_m_s = law._leg(device, number)
            assert mobility.speed_min_m_s <= speed_m_s <= mobility.speed_max_m_s
            assert abs(target) <= RADIUS_M
            times += [times[-1] + abs(target - points[-1]) / speed_m_s]
            times += [times[-1] + pause_s]
            points += [target, target]
            number += 1
        clock = interval_s * np.arange(50)
        east = np.interp(clock, times, np.real(points))
        north = np.interp(clock, times, np.imag(points))
        assert path(walk, 50)[:, device] == pytest.approx(np.stack([east, north], axis=1), abs=1e-7)


def test_walks_of_countless_legs_between_two_rounds_are_refused():
    with pytest.raises(ConfigMismatch, match=r"legs between two rounds; shorten"):
        build_motion(
            c.RandomWaypoint(speed_max_m_s=1000.0, interval_s=86_400.0), disc_places(2), 1.0, 0
        )


def bounced(place: complex, velocity: complex, mean: complex, interval_s: float):
    """One bounce after the other, in a disc of radius 1 around 0."""
    left_s = interval_s
    while True:
        b, a = (place * velocity.conjugate()).real, abs(velocity) ** 2
        hit_s = (-b + math.sqrt(max(0.0, b * b + a * (1.0 - abs(place) ** 2)))) / a
        if hit_s >= left_s:
            return place + velocity * left_s, velocity, mean
        place += velocity * hit_s
        place /= abs(place)
        velocity -= 2.0 * (velocity * place.conjugate()).real * place
        mean -= 2.0 * (mean * place.conjugate()).real * place
        left_s -= hit_s


def test_reflection_in_one_rotation_equals_bounce_after_bounce():
    rng = np.random.default_rng(5)
    place = np.sqrt(rng.random(300)) * np.exp(2j * np.pi * rng.random(300))
    velocity = rng.normal(size=300) + 1j * rng.normal(size=300)
    mean = rng.normal(size=300) + 1j * rng.normal(size=300)
    disc = Disc(place, 0j, 1.0)
    for interval_s in (0.1, 1.0, 15.0):
        batched = np.stack(reflected(disc, place, velocity, mean, interval_s), axis=1)
        slow = np.array(
            [
                bounced(complex(p), complex(v), complex(m), interval_s)
                for p, v, m in zip(place, velocity, mean, strict=True)
            ]
        )
        assert batched == pytest.approx(slow, abs=1e-7)


def test_reflection_by_hand():
    # From the centre east at 3 m/s for 1 s in a disc of 2 m: out to the edge and 1 m back. The mean
    # velocity north-east is mirrored at the edge, whose normal points east.
    one = np.zeros(1, dtype=np.complex128)
    place, velocity, mean = reflected(Disc(one, 0j, 2.0), one, one + 3.0, one + 1.0 + 1.0j, 1.0)
    assert place[0] == pytest.approx(1.0 + 0.0j)
    assert velocity[0] == pytest.approx(-3.0 + 0.0j)
    assert mean[0] == pytest.approx(-1.0 + 1.0j)


def test_who_stands_at_the_edge_and_looks_out_turns_around():
    edge = np.array([2.0 + 0.0j, 2.0 + 0.0j, 2.0 + 0.0j])
    # Outwards, along the edge, and not at all.
    velocity = np.array([1.0 + 0.0j, 0.0 + 1.0j, 0.0 + 0.0j])
    place, after, _ = reflected(Disc(edge, 0j, 2.0), edge, velocity, velocity, 1.0)
    assert place[0] == pytest.approx(1.0 + 0.0j)
    assert after[0] == pytest.approx(-1.0 + 0.0j)
    assert np.abs(place).max() <= 2.0
    assert np.isfinite(after).all()


def test_velocity_follows_the_recursion_of_gauss_and_markov():
    # With all memory but a rounding error, straight lines; without any, a fresh velocity each time.
    wide = build_motion(c.GaussMarkov(memory=1.0 - 1e-14), disc_places(6), 1e6, 3)
    places = path(wide, 20)
    steps = np.diff(places, axis=0)
    assert steps == pytest.approx(np.broadcast_to(steps[:1], steps.shape), abs=1e-3)
    law = law_of(build_motion(c.GaussMarkov(memory=0.0), disc_places(6), 1e6, 3), GaussMarkovLaw)
    first = law.first()
    other = Drift(first.place, 0.0 * first.velocity, first.mean)
    assert np.array_equal(law.following(first, 1).velocity, law.following(other, 1).velocity)


def test_mean_velocities_are_as_strong_as_their_deviation():
    law = law_of(build_motion(c.GaussMarkov(speed_m_s=1.4), disc_places(6), 1e6, 3), GaussMarkovLaw)
    # sqrt(pi / 2) (1.5 I0(1/4) + 0.5 I1(1/4)) exp(-1/4) with I0 = 1.015686, I1 = 0.125979.
    rice = math.sqrt(math.pi / 2.0) * (1.5 * 1.015686 + 0.5 * 0.125979) * math.exp(-0.25)
    assert law.sigma_m_s == pytest.approx(1.4 / rice, rel=1e-5)
    assert np.abs(law.first().mean) == pytest.approx(np.full(6, law.sigma_m_s))


TRACE = """round,device,x_m,y_m
0,0,0.0,10.0
4,0,8.0,-10.0
0,1,5.0,5.0
2,1,5.0,7.0
3,1,1.0,7.0
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "walk.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_trace_goes_straight_between_given_rounds_and_holds_the_last(tmp_path):
    walk = read_trace(written(tmp_path, TRACE), 2)
    by_hand = {
        0: [[0.0, 10.0], [5.0, 5.0]],
        1: [[2.0, 5.0], [5.0, 6.0]],
        2: [[4.0, 0.0], [5.0, 7.0]],
        3: [[6.0, -5.0], [1.0, 7.0]],
        4: [[8.0, -10.0], [1.0, 7.0]],
        500: [[8.0, -10.0], [1.0, 7.0]],
    }
    for k, places in by_hand.items():
        assert walk.places(k) == pytest.approx(np.array(places))


def test_a_trace_that_begins_late_holds_its_first_place(tmp_path):
    walk = read_trace(written(tmp_path, "round,device,x_m,y_m\n5,0,1,2\n7,0,3,2\n"), 1)
    assert walk.places(0).tolist() == walk.places(5).tolist() == [[1.0, 2.0]]
    assert walk.places(6).tolist() == [[2.0, 2.0]]


def test_columns_and_rows_of_a_trace_come_in_any_order(tmp_path):
    header, *rows = TRACE.splitlines()
    turned = [",".join(reversed(row.split(","))) for row in (header, *reversed(rows))]
    one = read_trace(written(tmp_path, TRACE), 2)
    other = read_trace(written(tmp_path, "\n".join(turned)), 2)
    assert np.array_equal(path(one, 6), path(other, 6))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no column round"),
        ("round,device,x_m\n0,0,1\n", "no column y_m"),
        (TRACE.replace("10.0\n4", "nan\n4"), "line 2: a place must be finite"),
        (TRACE.replace("8.0", "inf"), "line 3: a place must be finite"),
        (TRACE.replace("8.0", "far"), "line 3: there is no number in column x_m"),
        (TRACE.replace("4,0,", "4.5,0,"), "line 3: round is 4.5; rounds are whole numbers"),
        (TRACE.replace("4,0,", "4,0.5,"), "line 3: device is 0.5, but fleet.devices is 2"),
        (TRACE + "9,0\n", "line 7: there is no number in column x_m"),
        (TRACE + "-1,0,0,0\n", "line 7: round is -1"),
        (TRACE + "nan,0,0,0\n", "line 7: round is nan"),
        (TRACE + "9,0,3e5,0\n", "places span 300000 m, but at most 200000 fit"),
        (TRACE + "9,0,1e308,-1e308\n", "places span 1e[+]308 m"),
        (TRACE + "0,2,0,0\n", r"line 7: device is 2, but fleet.devices is 2"),
        (TRACE + "4,0,0,0\n", "line 7: device 0 is placed twice in round 4"),
        ("round,device,x_m,y_m\n0,1,0,0\n", r"no place for device 0, but fleet.devices is 2"),
    ],
)
def test_a_trace_that_does_not_fit_is_refused_in_a_sentence(tmp_path, text, sentence):
    with pytest.raises(ConfigMismatch, match=sentence):
        read_trace(written(tmp_path, text), 2)


def test_a_trace_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "walk.csv"
    file.write_bytes(b"round,device,x_m,y_m\n\xff\xfe\x00")
    with pytest.raises(ConfigMismatch, match=r"walk.csv is not a CSV text file"):
        read_trace(file, 2)


def test_a_trace_is_found_by_its_name(tmp_path, monkeypatch):
    file = written(tmp_path, TRACE)
    asked = []

    def found(*question: object) -> Path:
        asked.append(question)
        return file

    monkeypatch.setattr(motion, "input_path", found)
    walk = build_motion(c.Trace(name="walk", sha256="0" * 64), disc_places(2), RADIUS_M, 0)
    assert asked == [("traces", "walk", SUFFIXES, "0" * 64)]
    assert walk.places(2).tolist() == [[4.0, 0.0], [5.0, 7.0]]


def test_the_area_of_a_placed_mesh_is_its_disc():
    assert area_radius_m(c.Ring(radius_m=70.0), disc_places(3)) == 70.0
    assert area_centre_m(c.Ring(radius_m=70.0), disc_places(3)) == (0.0, 0.0)


def test_the_area_of_a_drawn_mesh_holds_all_around_their_centroid():
    places = np.array([[0.0, 0.0], [60.0, 0.0], [30.0, 90.0]])
    drawn = c.Drawn(positions=tuple(c.Point(x_m=x, y_m=y) for x, y in places.tolist()))
    assert area_centre_m(drawn, places) == (30.0, 30.0)
    assert area_radius_m(drawn, places) == pytest.approx(60.0)
    assert area_of(drawn, places) == (area_radius_m(drawn, places), (30.0, 30.0))
    close = places / 1000.0
    assert area_radius_m(drawn, close) == 10.0
