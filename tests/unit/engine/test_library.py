import numpy as np
import pytest
import torch

from engine.methods.base import Memory
from engine.methods.library import (
    OFFER_BITS,
    Pull,
    copied,
    empty_library,
    is_published,
    known_fraction,
    published,
    pulls,
    strangers,
)
from tests.support.methods import full_mesh, line_mesh, mesh_of, setup_of


def shelved(own: list[int], round_index: int = 0, memory: Memory | None = None) -> Memory:
    """Every device has published an expert whose values are 100 * round + its number."""
    setup, n = setup_of(own), len(own)
    b = {
        name: torch.arange(n)[:, None, None].expand(n, d_out, setup.rank) + 100.0 * round_index
        for name, (d_out, _) in setup.shapes.items()
    }
    memory = memory or empty_library(setup, len(setup.tasks))
    values = torch.full((n,), 7)
    return published(memory, b, values, torch.eye(n) > 0, setup.own, round_index)


def contents(memory: Memory, device: int) -> list[float | None]:
    """First value of the copy in each place of a device."""
    first = memory["copy.layers.0.q_proj"][:, 0, 0].tolist()
    return [None if copy < 0 else first[copy] for copy in memory["held"][device].tolist()]


def test_everything_travels_hop_by_hop_and_each_receiver_gets_it_once():
    own = [0, 1, 2, 3]
    slot, mesh = np.array(own), mesh_of(line_mesh(4))
    memory, received = shelved(own), []
    for _ in range(3):
        asked = pulls(memory, mesh, slot)
        received += [(pull.receiver, pull.slot) for pull in asked]
        memory = copied(memory, asked, line_mesh(4))
    assert contents(memory, 0) == [0.0, 1.0, 2.0, 3.0]
    assert contents(memory, 3) == [0.0, 1.0, 2.0, 3.0]
    assert len(received) == len(set(received)) == 12
    assert pulls(memory, mesh, slot) == ()


def test_a_new_version_replaces_the_old_one_and_nothing_else_is_kept():
    own = [0, 1]
    slot, mesh = np.array(own), mesh_of(full_mesh(2))
    memory = shelved(own)
    memory = copied(memory, pulls(memory, mesh, slot), full_mesh(2))
    memory = shelved(own, 4, memory)
    assert contents(memory, 0) == [400.0, 1.0]
    memory = copied(memory, pulls(memory, mesh, slot), full_mesh(2))
    assert contents(memory, 0) == [400.0, 401.0]
    assert memory["copy_round"].tolist() == [4, 4]


def test_of_two_devices_of_one_task_only_one_is_copied():
    own = [0, 1, 1]
    asked = pulls(shelved(own), mesh_of(full_mesh(3)), np.array(own))
    assert [(pull.receiver, pull.sender, pull.offers) for pull in asked] == [
        (0, 1, 2),
        (1, 0, 1),
        (2, 0, 1),
    ]
    assert asked[0].request_bits == 3 * OFFER_BITS


def test_requests_are_shared_out_among_neighbours_that_have_the_same():
    own = [0, 0, 1, 1]
    asked = pulls(shelved(own), mesh_of(full_mesh(4)), np.array(own))
    assert sorted(pull.sender for pull in asked) == [0, 1, 2, 3]


def test_a_lost_copy_is_asked_for_again_and_the_older_one_stays():
    own = [0, 1]
    slot, mesh = np.array(own), mesh_of(full_mesh(2))
    memory = shelved(own)
    memory = copied(memory, pulls(memory, mesh, slot), full_mesh(2))
    memory = shelved(own, 4, memory)
    lost = copied(memory, pulls(memory, mesh, slot), np.zeros((2, 2), dtype=bool))
    assert contents(lost, 0) == [400.0, 1.0]
    assert len(pulls(lost, mesh, slot)) == 2


def test_strangers_are_those_members_whose_a_or_mask_is_not_known():
    own = [0, 1]
    memory = shelved(own)
    (pull, _) = pulls(memory, mesh_of(full_mesh(2)), np.array(own))
    assert list(strangers(memory, pull)) == [(1, 0)]
    memory["met"][0, 1] = 1
    assert list(strangers(memory, pull)) == [(1, 1)]
    memory["met"][0, 1] = 2
    assert list(strangers(memory, pull)) == []


def test_the_share_of_known_experts_counts_only_those_of_others():
    own = [0, 1]
    slot, memory = np.array(own), shelved(own)
    assert known_fraction(memory, slot) == 0.0
    (first, _) = pulls(memory, mesh_of(full_mesh(2)), slot)
    assert known_fraction(copied(memory, (first,), full_mesh(2)), slot) == 0.5
    assert known_fraction(shelved([0]), np.array([0])) == 1.0


@pytest.mark.parametrize(
    ("rounds", "every", "expected"),
    [(20, 5, [4, 9, 14, 19]), (20, 7, [6, 13, 19]), (20, 1000, [19]), (3, 1, [0, 1, 2])],
)
def test_experts_are_published_every_so_many_rounds_and_in_the_last(rounds, every, expected):
    assert [t for t in range(rounds) if is_published(t, rounds, every)] == expected


def test_copies_are_stored_once_however_many_hold_them():
    own = [0, 1, 2, 0]
    slot, mesh = np.array(own), mesh_of(full_mesh(4))
    memory = shelved(own)
    memory = copied(memory, pulls(memory, mesh, slot), full_mesh(4))
    assert len(memory["copy_source"]) == 4
    assert memory["copy_source"].unique().tolist() == [0, 1, 2, 3]


def test_a_pull_names_its_parts():
    assert Pull(1, 2, 3, 4, 5).request_bits == 6 * 64
