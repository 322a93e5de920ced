"""Laws of collisions and clusters, for any mesh: limits hold, merges replay, nothing is missed."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
from hypothesis import assume, given, strategies as st
from hypothesis.extra.numpy import arrays

from meshtune.engine.channels import Radio, build_channel
from meshtune.engine.channels.capacity import RateRule
from meshtune.engine.channels.fading import Fading, Steady
from meshtune.engine.channels.propagation import FreeSpace
from meshtune.engine.config import RunConfig
from meshtune.engine.costs import method_costs
from meshtune.engine.geometry import distances_m
from meshtune.engine.rng import stream
from meshtune.engine.topology import Merge, build_mesh
from meshtune.engine.topology.agnes import agnes
from meshtune.engine.topology.collision import (
    collision_rate,
    empirical_collision,
    own_collision,
    own_overlap,
)
from meshtune.engine.topology.power import deadline_power_w

DENSITIES = arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1))
Members = tuple[int, ...]


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    """Fleets in the paper's clusters, over radios from ample to hopeless."""
    radio = {
        "kind": "paper",
        "bandwidth_hz": draw(st.sampled_from([1e5, 3e5, 2e6])),
        "tx_power_dbm": draw(st.sampled_from([-20.0, 0.0, 23.0])),
        "deadline_s": 1.0,
    }
    return RunConfig.model_validate(
        {
            "seed": draw(st.integers(0, 2**31 - 1)),
            "fleet": {"devices": draw(st.integers(1, 14))},
            "topology": {
                "kind": "agnes",
                "collision_max": draw(st.sampled_from([0.0, 0.1, 0.3, 0.6, 1.0])),
                "collision": draw(st.sampled_from(["analytic", "across_tasks"])),
                "radius_m": draw(st.sampled_from([30.0, 300.0, 3000.0])),
            },
            "method": {"kind": "so_lora", "density": draw(st.sampled_from([0.02, 0.1, 0.25, 0.5]))},
            "channel": draw(st.sampled_from([radio, {"kind": "ideal"}])),
        }
    )


def replayed(devices: int, merges: tuple[Merge, ...]) -> set[Members]:
    """The clusters after all merges, each of which must join two clusters that are there."""
    clusters: set[Members] = {(device,) for device in range(devices)}
    for merge in merges:
        clusters.remove(merge.left)
        clusters.remove(merge.right)
        clusters.add(tuple(sorted(merge.left + merge.right)))
    return clusters


def power_by_hand(config: RunConfig, places: np.ndarray, members: Members) -> float:
    """The largest sum of Lemma 1 powers of a member; the config has a paper radio."""
    others = len(members) - 1
    channel = config.channel
    spectral = (
        method_costs(config).message_bits * others / (channel.bandwidth_hz * channel.deadline_s)
    )
    if spectral > channel.spectral_efficiency_max:
        return math.inf
    distances = distances_m(places)
    radio = build_channel(config)
    assert isinstance(radio, Radio)
    gain = (299_792_458.0 / channel.carrier_hz / (4 * math.pi)) ** 2
    noise_w = radio.noise_w_hz * channel.bandwidth_hz / max(others, 1)
    return max(
        sum(noise_w / (gain / distances[i, j] ** 2) * (2**spectral - 1) for i in members if i != j)
        for j in members
    )


def rate_by_hand(config: RunConfig, members: Members) -> float:
    held = len(members)
    if config.topology.collision == "across_tasks":
        held = len({config.fleet.task_of(device) for device in members})
    s = config.method.density
    return 1 - (1 - s) ** held - held * s * (1 - s) ** (held - 1)


@given(configs())
def test_no_cluster_passes_the_collision_limit_or_the_power_budget(config: RunConfig) -> None:
    mesh = build_mesh(config)
    limit = config.topology.collision_max
    for merge in mesh.merges:
        members = tuple(sorted(merge.left + merge.right))
        assert merge.collision <= limit
        np.testing.assert_allclose(merge.collision, rate_by_hand(config, members), atol=1e-12)
        if config.channel.kind == "ideal":
            assert merge.power_w == 0.0
            continue
        budget_w = 10 ** (config.channel.tx_power_dbm / 10 - 3)
        assert merge.power_w <= budget_w * (1 + 1e-9)
        expected_w = power_by_hand(config, mesh.positions, members)
        np.testing.assert_allclose(merge.power_w, expected_w, rtol=1e-9)


@given(configs())
def test_merges_replay_to_the_clusters_and_no_merge_was_missed(config: RunConfig) -> None:
    mesh = build_mesh(config)
    clusters = replayed(config.fleet.devices, mesh.merges)
    assert {
        tuple(np.flatnonzero(mesh.cluster == k).tolist()) for k in set(mesh.cluster)
    } == clusters
    ideal = config.channel.kind == "ideal"
    budget_w = math.inf if ideal else 10 ** (config.channel.tx_power_dbm / 10 - 3)
    for one, other in combinations(clusters, 2):
        union = tuple(sorted(one + other))
        needed_w = 0.0 if ideal else power_by_hand(config, mesh.positions, union)
        collides = rate_by_hand(config, union) > config.topology.collision_max * (1 - 1e-9)
        assert collides or needed_w > budget_w * (1 - 1e-9)


@given(configs())
def test_the_clustered_mesh_is_one_and_full_inside(config: RunConfig) -> None:
    mesh = build_mesh(config)
    assert (mesh.linked == mesh.linked.T).all()
    assert not mesh.linked.diagonal().any()
    assert nx.is_connected(nx.from_numpy_array(mesh.linked))
    same = mesh.cluster[:, None] == mesh.cluster[None, :]
    assert (mesh.linked[same] == ~np.eye(len(same), dtype=bool)[same]).all()
    # A tree over the clusters.
    assert mesh.linked[~same].sum() == 2 * mesh.cluster.max()


def slow_agnes(
    reach: np.ndarray,
    power: Callable[[Members], float],
    collision: Callable[[Members], float],
    limit: float,
) -> list[tuple[Members, Members]]:
    """Every pair rated anew in every step."""
    clusters: list[Members] = [(device,) for device in range(len(reach))]
    merges = []
    while True:
        rated = []
        for left, right in combinations(sorted(clusters), 2):
            union = tuple(sorted(left + right))
            near = any(reach[i, j] for i in left for j in right)
            if near and power(union) < math.inf and collision(union) <= limit:
                rated.append((collision(union), power(union), left, right))
        if not rated:
            return merges
        _, _, left, right = min(rated)
        merges.append((left, right))
        clusters = [c for c in clusters if c not in (left, right)] + [tuple(sorted(left + right))]


@given(
    devices=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    limit=st.floats(0, 1),
    near=st.floats(0, 1),
    levels=st.integers(1, 6),
)
def test_clustering_is_that_of_the_obvious_loop(
    devices: int, seed: int, limit: float, near: float, levels: int
) -> None:
    upper = np.triu(stream(seed, "reach").random((devices, devices)) < near, k=1)
    reach = upper | upper.T

    def rate(members: Members) -> float:  # few levels, so that there are ties
        return int(stream(seed, "rate", *members).integers(levels)) / levels

    def power(members: Members) -> float:
        drawn = int(stream(seed, "power", *members).integers(4))
        return math.inf if drawn == 3 else drawn / 4

    cluster, merges = agnes(reach, power, rate, limit)
    assert [(m.left, m.right) for m in merges] == slow_agnes(reach, power, rate, limit)
    expected = sorted(replayed(devices, merges))
    assert [cluster[list(members)].tolist() for members in expected] == [
        [k] * len(members) for k, members in enumerate(expected)
    ]


@given(DENSITIES)
def test_the_collision_rate_is_a_probability_that_a_further_device_never_lowers(
    densities: np.ndarray,
) -> None:
    rates = [float(collision_rate(densities[: k + 1])) for k in range(len(densities))]
    assert rates[0] == 0.0
    assert all(0.0 <= rate <= 1.0 for rate in rates)
    assert all(low <= high + 1e-12 for low, high in pairwise(rates))


@given(DENSITIES)
def test_the_rate_is_equation_19_as_printed_and_blind_to_order(densities: np.ndarray) -> None:
    free = 1 - densities
    once = sum(s * np.prod(np.delete(free, device)) for device, s in enumerate(densities))
    np.testing.assert_allclose(collision_rate(densities), 1 - np.prod(free) - once, atol=1e-12)
    np.testing.assert_allclose(
        collision_rate(densities[::-1].copy()), collision_rate(densities), rtol=1e-9, atol=1e-300
    )
    felt = [1 - np.prod(np.delete(free, device)) for device in range(len(densities))]
    np.testing.assert_allclose(own_collision(densities), felt, atol=1e-12)


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 40))))
def test_counts_are_those_of_the_obvious_loop(masks: np.ndarray) -> None:
    held = [{int(entry) for entry in np.flatnonzero(row)} for row in masks]
    twice = {e for one, other in combinations(held, 2) for e in one & other}
    assert empirical_collision(masks) == len(twice) / masks.shape[1]
    for own, overlap in zip(held, own_overlap(masks), strict=True):
        assert overlap == (len(own & twice) / len(own) if own else 0.0)


@given(
    st.integers(0, 2**31),
    st.integers(1, 10**8),
    st.integers(1, 8),
    st.floats(0.5, 20.0),
    st.floats(0.01, 100.0),
)
def test_t8_lemma_1_power_takes_the_deadline_at_any_receiver(
    seed: int, bits: int, receivers: int, cap: float, deadline_s: float
) -> None:
    places = stream(seed, "places").uniform(-1000, 1000, (receivers + 1, 2))
    rule, air = RateRule(cap, 1.0, table=False), FreeSpace(3.5e9)
    radio = Radio(2e7, 0.2, 3e-20, deadline_s, rule, air, Fading(Steady(), 0, None), seed=0)
    power = deadline_power_w(radio, places, bits, receivers)
    spectral = bits * receivers / (2e7 * deadline_s)
    assert np.isinf(power[1, 0]) == (spectral > cap)
    assume(spectral <= cap and spectral > 1e-6)
    sent = np.zeros(power.shape, dtype=np.int64)
    sent[1:, 0] = bits
    for receiver in range(1, receivers + 1):
        # The radio splits its budget equally, so each receiver has its power in turn.
        budget_w = receivers * float(power[receiver, 0])
        exact = replace(radio, tx_power_w=budget_w)
        airtime_s = exact.deliver(places, sent, 0).airtime_s[receiver, 0]
        np.testing.assert_allclose(airtime_s, deadline_s, rtol=1e-9)
