"""Slots and turns: nobody disturbs whom it should not, and nobody waits without need."""

import numpy as np
from hypothesis import given, strategies as st

from meshtune.engine.channels.access import (
    broadcast,
    places_in_group,
    spatial_slots,
    taking_turns,
    unicast,
)
from meshtune.engine.geometry import distances_m
from meshtune.engine.rng import stream


@st.composite
def meshes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Pairs in interference range and bits to send."""
    devices = draw(st.integers(2, 14))
    rng = stream(draw(st.integers(0, 2**31)), "mesh")
    places = rng.uniform(0.0, 100.0, (devices, 2))
    near = distances_m(places) <= draw(st.floats(0.0, 150.0))
    bits = rng.integers(1, 100, (devices, devices)) * (rng.random((devices, devices)) < 0.4)
    np.fill_diagonal(bits, 0)
    return near, bits


@given(meshes(), st.booleans())
def test_no_two_transmissions_of_a_slot_are_in_conflict(mesh: tuple, to_all: bool) -> None:
    near, bits = mesh
    sender, _, link, receiver = (broadcast if to_all else unicast)(bits)
    slot = spatial_slots(near, sender, link, receiver)
    assert set(slot) == set(range(slot.max(initial=-1) + 1))
    for one in range(len(sender)):
        for other in range(len(sender)):
            if one == other or slot[one] != slot[other]:
                continue
            mine, theirs = receiver[link == one], receiver[link == other]
            # A device does one thing at a time, and no sender is near another's receiver.
            assert not ({sender[one], *mine} & {sender[other], *theirs})
            assert not near[theirs, sender[one]].any()


@given(meshes())
def test_slots_are_reused_as_soon_as_they_can_be(mesh: tuple) -> None:
    near, bits = mesh
    sender, _, link, receiver = unicast(bits)
    slot = spatial_slots(near, sender, link, receiver)
    for k, own in enumerate(slot):
        for earlier in range(own):  # something before it in that slot is in its way
            rivals = np.flatnonzero(slot[:k] == earlier)
            blocked = [
                bool({sender[k], receiver[k]} & {sender[r], receiver[r]})
                or near[receiver[k], sender[r]]
                or near[receiver[r], sender[k]]
                for r in rivals
            ]
            assert any(blocked)


@given(meshes())
def test_neighbours_never_have_the_same_turn(mesh: tuple) -> None:
    attempted = mesh[1] > 0
    turn = taking_turns(attempted)
    assert not (attempted & (turn[:, None] == turn[None, :])).any()
    assert turn.max() <= (attempted | attempted.T).sum(axis=1).max()


@given(meshes())
def test_unicast_and_broadcast_list_every_message_once(mesh: tuple) -> None:
    bits = mesh[1]
    for make in (unicast, broadcast):
        sender, length, link, receiver = make(bits)
        table = np.zeros_like(bits)
        table[receiver, sender[link]] += length[link]
        assert ((table > 0) == (bits > 0)).all()
        assert (table >= bits).all()
        assert (np.diff(link) >= 0).all()
    sender, length, _, _ = broadcast(bits)
    assert (length == bits.max(axis=0)[sender]).all()
    assert len(set(sender)) == len(sender)


def test_places_in_a_group_count_from_zero() -> None:
    assert places_in_group(np.array([0, 0, 2, 5, 5, 5])).tolist() == [0, 1, 0, 0, 1, 2]
    assert places_in_group(np.array([], dtype=np.int64)).tolist() == []


def test_in_a_small_place_every_transmission_has_a_slot_of_its_own() -> None:
    bits = np.ones((5, 5), dtype=np.int64) - np.eye(5, dtype=np.int64)
    sender, _, link, receiver = unicast(bits)
    slot = spatial_slots(np.ones((5, 5), dtype=bool), sender, link, receiver)
    assert slot.tolist() == list(range(20))
