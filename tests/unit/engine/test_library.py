"""The copies themselves: values that travel as the books in meshtune.engine.ledger say."""

import numpy as np
import torch

from meshtune.engine.ledger import OFFER_BITS, Pulls, copied, published, pulls
from meshtune.engine.methods.rules import Heard, Memory
from meshtune.engine.methods.shared.library import (
    empty_memory,
    known_fraction,
    library_of,
    remembered,
)
from meshtune.engine.topology import Mesh
from tests.support.methods import full_mesh, line_mesh, mesh_of, setup_of


def shelved(own: list[int], round_index: int = 0, memory: Memory | None = None) -> Memory:
    """Every device has published an expert whose values are 100 * round + its number."""
    setup, n = setup_of(own), len(own)
    b = {
        name: torch.arange(n)[:, None, None].expand(n, d_out, setup.rank) + 100.0 * round_index
        for name, (d_out, _) in setup.shapes.items()
    }
    memory = memory or empty_memory(setup, len(setup.tasks))
    members = np.eye(n, dtype=bool)
    library = published(library_of(memory), np.full(n, 7), members, setup.own, round_index)
    return remembered(memory, library, b)


def asked_for(memory: Memory, mesh: Mesh, slot: np.ndarray) -> Pulls:
    return pulls(library_of(memory), mesh.linked, slot)


def delivered(memory: Memory, asked: Pulls, heard: Heard) -> Memory:
    return remembered(memory, copied(library_of(memory), asked, heard))


def contents(memory: Memory, device: int) -> list[float | None]:
    """First value of the copy in each place of a device."""
    first = memory["copy.layers.0.q_proj"][:, 0, 0].tolist()
    return [None if copy < 0 else first[copy] for copy in memory["held"][device].tolist()]


def test_everything_travels_hop_by_hop_and_each_receiver_gets_it_once():
    own = [0, 1, 2, 3]
    slot, mesh = np.array(own), mesh_of(line_mesh(4))
    memory, received = shelved(own), []
    for _ in range(3):
        asked = asked_for(memory, mesh, slot)
        received += zip(asked.receiver.tolist(), asked.slot.tolist(), strict=True)
        memory = delivered(memory, asked, line_mesh(4))
    assert contents(memory, 0) == [0.0, 1.0, 2.0, 3.0]
    assert contents(memory, 3) == [0.0, 1.0, 2.0, 3.0]
    assert len(received) == len(set(received)) == 12
    assert len(asked_for(memory, mesh, slot).receiver) == 0


def test_a_new_version_replaces_the_old_one_and_nothing_else_is_kept():
    own = [0, 1]
    slot, mesh = np.array(own), mesh_of(full_mesh(2))
    memory = shelved(own)
    memory = delivered(memory, asked_for(memory, mesh, slot), full_mesh(2))
    memory = shelved(own, 4, memory)
    assert contents(memory, 0) == [400.0, 1.0]
    memory = delivered(memory, asked_for(memory, mesh, slot), full_mesh(2))
    assert contents(memory, 0) == [400.0, 401.0]
    assert memory["copy_round"].tolist() == [4, 4]
    assert all(len(value) == 2 for name, value in memory.items() if name.startswith("copy"))


def test_of_two_devices_of_one_task_only_one_is_copied():
    own = [0, 1, 1]
    asked = asked_for(shelved(own), mesh_of(full_mesh(3)), np.array(own))
    assert asked.receiver.tolist() == [0, 1, 2]
    assert asked.sender.tolist() == [1, 0, 0]
    assert asked.request_bits.tolist() == [3 * OFFER_BITS, 2 * OFFER_BITS, 2 * OFFER_BITS]


def test_requests_are_shared_out_among_neighbours_that_have_the_same():
    own = [0, 0, 1, 1]
    asked = asked_for(shelved(own), mesh_of(full_mesh(4)), np.array(own))
    assert sorted(asked.sender.tolist()) == [0, 1, 2, 3]


def test_a_lost_copy_is_asked_for_again_and_the_older_one_stays():
    own = [0, 1]
    slot, mesh = np.array(own), mesh_of(full_mesh(2))
    memory = shelved(own)
    memory = delivered(memory, asked_for(memory, mesh, slot), full_mesh(2))
    memory = shelved(own, 4, memory)
    lost = delivered(memory, asked_for(memory, mesh, slot), np.zeros((2, 2), dtype=bool))
    assert contents(lost, 0) == [400.0, 1.0]
    assert len(asked_for(lost, mesh, slot).receiver) == 2


def test_the_share_of_known_experts_counts_only_those_of_others():
    own = [0, 1]
    slot, memory = np.array(own), shelved(own)
    assert known_fraction(memory, slot) == 0.0
    one_way = np.array([[False, True], [False, False]])
    asked = asked_for(memory, mesh_of(full_mesh(2)), slot)
    assert known_fraction(delivered(memory, asked, one_way), slot) == 0.5
    assert known_fraction(shelved([0]), np.array([0])) == 1.0


def test_copies_are_stored_once_however_many_hold_them():
    own = [0, 1, 2, 0]
    slot, mesh = np.array(own), mesh_of(full_mesh(4))
    memory = shelved(own)
    memory = delivered(memory, asked_for(memory, mesh, slot), full_mesh(4))
    assert len(memory["copy_source"]) == 4
    assert memory["copy_source"].unique().tolist() == [0, 1, 2, 3]


def test_a_memory_and_its_library_say_the_same():
    memory = shelved([0, 1, 1])
    library = library_of(memory)
    assert library.origin.tolist() == [0, 1, 2]
    again = remembered(memory, library)
    assert again.keys() == memory.keys()
    assert all(torch.equal(again[name], value) for name, value in memory.items())
