"""Facts about the links: as networkx counts them, and as formulas of known graphs have them."""

import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, strategies as st

from meshtune.engine.rng import stream
from meshtune.engine.topology.facts import algebraic_connectivity, components, degrees, diameter
from meshtune.engine.topology.lattices import exponential, full, line, ring, star


def drawn(devices: int, share: float, seed: int, *, both: bool) -> np.ndarray:
    upper = stream(seed, "links").random((devices, devices)) < share
    linked = np.triu(upper, k=1) if both else upper & ~np.eye(devices, dtype=bool)
    return linked | linked.T if both else linked


@given(devices=st.integers(1, 16), share=st.floats(0, 0.6), seed=st.integers(0, 2**31))
def test_facts_of_any_mesh_are_those_of_networkx(devices: int, share: float, seed: int) -> None:
    linked = drawn(devices, share, seed, both=True)
    graph = nx.from_numpy_array(linked)
    assert degrees(linked).tolist() == [degree for _, degree in graph.degree]
    assert components(linked) == nx.number_connected_components(graph)
    assert diameter(linked) == (nx.diameter(graph) if nx.is_connected(graph) else None)
    if devices > 1:
        second = nx.laplacian_spectrum(graph)[1]
        np.testing.assert_allclose(algebraic_connectivity(linked), max(second, 0.0), atol=1e-9)


@given(devices=st.integers(2, 16), share=st.floats(0, 0.6), seed=st.integers(0, 2**31))
def test_one_way_facts_follow_the_direction_of_messages(
    devices: int, share: float, seed: int
) -> None:
    linked = drawn(devices, share, seed, both=False)
    graph = nx.from_numpy_array(linked.T, create_using=nx.DiGraph)  # sender -> receiver
    assert degrees(linked).tolist() == [degree for _, degree in graph.out_degree]
    assert components(linked) == nx.number_weakly_connected_components(graph)
    reached = nx.is_strongly_connected(graph)
    assert diameter(linked) == (nx.diameter(graph) if reached else None)
    assert algebraic_connectivity(linked) == algebraic_connectivity(linked | linked.T)


@pytest.mark.parametrize("devices", [2, 3, 4, 9, 16, 65])
def test_algebraic_connectivity_of_known_graphs_is_that_of_their_formulas(devices: int) -> None:
    found = [algebraic_connectivity(kind(devices)) for kind in (line, full)]
    np.testing.assert_allclose(found, [2 * (1 - math.cos(math.pi / devices)), devices], atol=1e-9)
    if devices > 2:
        found = [algebraic_connectivity(kind(devices)) for kind in (ring, star)]
        around = 2 * (1 - math.cos(2 * math.pi / devices))
        np.testing.assert_allclose(found, [around, 1.0], atol=1e-9)


@pytest.mark.parametrize("devices", [2, 3, 17, 64, 256])
def test_diameters_of_known_graphs_are_those_of_their_formulas(devices: int) -> None:
    assert diameter(line(devices)) == devices - 1
    assert diameter(full(devices)) == 1
    assert diameter(star(devices)) == min(2, devices - 1)
    assert diameter(ring(devices)) == devices // 2
    assert diameter(exponential(devices, range(1), both=False)) == devices - 1  # a one-way ring


@pytest.mark.parametrize("power", [1, 2, 5, 8])
def test_the_exponential_graph_is_log_n_wide_and_log_n_deep(power: int) -> None:
    linked = exponential(2**power, range(power), both=False)
    assert degrees(linked).tolist() == [power] * 2**power
    assert diameter(linked) == power


def test_one_device_is_one_part_without_hops() -> None:
    alone = np.zeros((1, 1), dtype=bool)
    assert (degrees(alone).tolist(), components(alone), diameter(alone)) == ([0], 1, 0)
    assert algebraic_connectivity(alone) == 0.0


def test_a_mesh_in_two_parts_has_no_diameter_and_connects_nothing() -> None:
    parts = np.zeros((5, 5), dtype=bool)
    parts[:3, :3] = full(3)
    parts[3:, 3:] = full(2)
    assert components(parts) == 2
    assert diameter(parts) is None
    assert algebraic_connectivity(parts) == pytest.approx(0.0, abs=1e-12)


def test_links_one_way_only_reach_one_way_only() -> None:
    chain = np.zeros((3, 3), dtype=bool)
    chain[1, 0] = chain[2, 1] = True  # 0 -> 1 -> 2
    assert degrees(chain).tolist() == [1, 1, 0]
    assert components(chain) == 1
    assert diameter(chain) is None
