"""What some rounds on air say about a whole run."""

from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from meshtune.engine.channels import build_channel
from meshtune.engine.config import RunConfig
from meshtune.engine.planning.dry_run import (
    PAIRS,
    DryRun,
    dry_run,
    play_on_air,
    round_classes,
    round_meshes,
    rounds_to_play,
)
from meshtune.engine.topology.changing import changing_mesh
from tests.support.builders import tiny_config

ALL = 10**9  # a budget for every round
LEAST = 0  # one round of every class

STEADY: dict[str, dict[str, Any]] = {
    "plain": {"method__kind": "lora_gossip"},
    "compressed": {"method__kind": "choco_gossip"},
    "lori": {"method__kind": "lori", "method__density": 0.3},
    "experts": {"method__kind": "oracle_experts"},
    "library": {"method__kind": "so_lora", "method__library_every": 4},
    "new masks": {
        "method__kind": "so_lora",
        "method__library_every": 4,
        "method__mask_every": 6,
        "topology__kind": "clusters",
    },
    "masks in every round": {"method__kind": "so_lora", "method__mask_every": 1},
    "means of clusters": {
        "method__kind": "so_lora",
        "method__mode": "repaired",
        "topology__kind": "k_means",
        "topology__clusters": 2,
    },
    "links in turn": {"topology__kind": "exponential", "topology__variant": "one_peer"},
    "lori over links in turn": {
        "method__kind": "lori",
        "topology__kind": "exponential",
        "topology__variant": "one_peer",
    },
}


def six(changes: dict[str, Any]) -> RunConfig:
    return tiny_config(**{"rounds": 23, "fleet__devices": 6, **changes})


def played(config: RunConfig, pairs: int = PAIRS) -> DryRun:
    return dry_run(config, round_meshes(config), build_channel(config), pairs)


@pytest.mark.parametrize("changes", STEADY.values(), ids=STEADY)
def test_where_nothing_is_lost_few_rounds_give_the_bits_of_all(changes):
    config = six({**changes, "channel__kind": "ideal"})
    whole, part = played(config, ALL), played(config, LEAST)
    assert len(whole.played) == 23 > len(part.played)
    assert part.first == whole.first
    for name in ("payload_bits", "values", "attempted", "heard"):
        assert getattr(part.total, name) == getattr(whole.total, name), name
    assert part.total.compute_s == pytest.approx(whole.total.compute_s)
    assert part.total.compute_j == pytest.approx(whole.total.compute_j)


LOSSY = {
    "rounds": 42,
    "topology__radius_m": 300.0,
    "channel__kind": "radio",
    "channel__tx_power_dbm": 10.0,
    "channel__deadline_s": 1.0,
}
AIR = ("payload_bits", "airtime_s", "transmit_j", "receive_j", "round_s", "heard")


@pytest.mark.parametrize(
    ("changes", "pairs", "transient"),
    [
        ({"method__kind": "lora_gossip", "topology__kind": "geometric"}, 6_000, 1e-12),
        # Systematic: it takes some publications until devices hold copies of different age.
        (
            {"method__kind": "so_lora", "method__library_every": 3, "topology__kind": "clusters"},
            25_000,
            0.03,
        ),
    ],
    ids=["plain", "library"],
)
def test_where_messages_are_lost_few_rounds_estimate_all_within_their_error(
    changes, pairs, transient
):
    found = []
    for seed in range(6):
        config = six({**changes, **LOSSY, "seed": seed})
        whole, part = played(config, ALL), played(config, pairs)
        assert len(part.played) <= 12
        assert 0.1 < (whole.total.delivered_fraction or 0.0) < 0.95
        found.append([getattr(part.total, n) / getattr(whole.total, n) - 1 for n in AIR])
    for name, missed in zip(AIR, np.array(found).T, strict=True):
        standard_error = missed.std(ddof=1) / np.sqrt(len(missed))
        assert abs(missed.mean()) < 4 * standard_error + transient, name


def test_a_run_within_the_budget_is_played_whole():
    config = six({"channel__kind": "paper"})
    assert played(config).played == tuple(range(23))


def test_classes_of_rounds_tell_first_contact_publication_and_masks_apart():
    config = tiny_config(
        rounds=16,
        method__kind="so_lora",
        method__library_every=3,
        method__mask_every=8,
    )
    classes = round_classes(config)
    letter = {key: chr(ord("a") + place) for place, key in enumerate(dict.fromkeys(classes))}
    # a first; b plain; c first publication; d later ones; e masks drawn, and experts published
    # for the first time since: round 8 does both; then f plain is b again, and so on.
    assert "".join(letter[key] for key in classes) == "abcbbdbbebbdbbdd"


def test_a_method_without_memory_has_a_first_round_and_others():
    classes = round_classes(tiny_config(rounds=9))
    assert [len(list(same)) for _, same in groupby(classes)] == [1, 8]


@given(
    st.lists(st.tuples(st.integers(0, 3)), min_size=1, max_size=40),
    st.integers(0, 60),
)
def test_rounds_to_play_cover_every_class_alike_within_the_budget(classes, budget):
    work = [1 + key[0] for key in classes]
    chosen = rounds_to_play(classes, work, budget)
    assert list(chosen) == sorted(set(chosen))
    assert {classes[t] for t in chosen} == set(classes)
    counts = {key: sum(classes[t] == key for t in chosen) for key in classes}
    each = max(counts.values())
    assert all(counts[key] == min(each, classes.count(key)) for key in classes)
    assert each == 1 or sum(work[t] for t in chosen) <= budget
    # The first of every class are taken.
    for key in classes:
        first = [t for t, other in enumerate(classes) if other == key][: counts[key]]
        assert [t for t in chosen if classes[t] == key] == first
    assert (len(chosen) == len(classes)) >= (sum(work) <= budget)


@pytest.mark.parametrize("relink_every", [0, 1, 3])
def test_meshes_asked_for_in_any_order_are_those_of_the_run(relink_every):
    config = six(
        {
            "topology__kind": "k_nearest",
            "topology__neighbours": 2,
            "mobility__kind": "gauss_markov",
            "mobility__relink_every": relink_every,
            "churn__link_up_prob": 0.7,
            "churn__leave_prob": 0.3,
        }
    )
    mesh_of = round_meshes(config)
    mesh = mesh_of(0)
    changing = changing_mesh(config, mesh)
    ahead = mesh_of(8)
    mesh = round_meshes(config.model_copy(update={"churn": type(config.churn)()}))(0)
    for t in range(9):
        mesh = changing.at(mesh, t)
        usable = changing.usable(mesh, t)
        np.testing.assert_array_equal(mesh_of(t).positions, usable.positions)
        np.testing.assert_array_equal(mesh_of(t).linked, usable.linked)
    assert mesh_of(8) is ahead


def test_copies_stay_off_links_that_failed_in_the_round():
    config = six(
        {
            "method__kind": "so_lora",
            "method__library_every": 1,
            "channel__kind": "radio",
            "channel__tx_power_dbm": -5.0,
            "channel__deadline_s": 0.3,
            "topology__radius_m": 300.0,
        }
    )
    rounds = range(8)
    failed_before = 0
    for _, traffic in play_on_air(config, round_meshes(config), build_channel(config), rounds):
        lost = np.zeros((6, 6), dtype=bool)
        for hop in traffic.deliveries:
            assert not (lost & hop.attempted).any()
            lost |= hop.attempted & ~hop.heard
        failed_before += int(lost.sum())
    assert failed_before > 0


def test_a_hop_begins_when_the_one_before_has_ended():
    changes = {"method__kind": "so_lora", "fleet__tasks": ["addition", "reading", "ending"]}
    line = {"topology__kind": "line", "channel__kind": "paper"}
    config = six({**changes, **line, "method__library_every": 1})
    [(_, traffic)] = play_on_air(config, round_meshes(config), build_channel(config), [0])
    hops = traffic.deliveries
    assert len(hops) > 2
    for before, after in pairwise(hops):
        sent = after.attempted
        starts = after.end_s[sent] - after.airtime_s[sent]
        assert starts.min() >= before.end_s.max() * (1 - 1e-12)
    assert traffic.round_s == hops[-1].end_s.max()
