"""Devices and links that come and go: the laws of chance and of bookkeeping."""

import numpy as np
import pytest

from meshtune.engine import config as c
from meshtune.engine.topology.churn import links_up, present, reachable

SOME = c.Churn(link_up_prob=0.6, leave_prob=0.2, return_prob=0.3)


def test_everybody_is_present_in_the_first_round():
    assert present(c.Churn(leave_prob=1.0, return_prob=0.0), 3, 9, 0).all()


def test_presence_asked_in_any_order_is_the_same():
    forwards = [present(SOME, 5, 6, k).copy() for k in range(600)]
    for k in (599, 0, 256, 255, 511, 512, 1, 300):
        assert np.array_equal(present(SOME, 5, 6, k), forwards[k])


def test_presence_and_links_do_not_depend_on_how_many_devices_there_are():
    for k in (0, 1, 7, 255, 256, 700):
        assert np.array_equal(present(SOME, 5, 40, k)[:9], present(SOME, 5, 9, k))
        assert np.array_equal(links_up(SOME, 5, 40, k)[:9, :9], links_up(SOME, 5, 9, k))


def test_another_seed_has_other_presence_and_links():
    rounds = range(1, 20)
    assert any((present(SOME, 1, 8, k) != present(SOME, 2, 8, k)).any() for k in rounds)
    assert any((links_up(SOME, 1, 8, k) != links_up(SOME, 2, 8, k)).any() for k in rounds)


def test_who_leaves_for_good_never_returns():
    gone = c.Churn(leave_prob=0.1, return_prob=0.0)
    here = np.stack([present(gone, 4, 50, k) for k in range(300)])
    assert (here[1:] <= here[:-1]).all()
    assert not here[-1].any()


def test_with_certain_moves_devices_leave_and_return_by_turns():
    turns = c.Churn(leave_prob=1.0, return_prob=1.0)
    assert [bool(present(turns, 4, 3, k).all()) for k in range(5)] == [True, False] * 2 + [True]
    # Across the seam of two blocks as well.
    assert present(turns, 4, 3, 256).all()
    assert not present(turns, 4, 3, 255).any()


def test_links_are_up_in_both_directions_and_nobody_is_linked_to_itself():
    for k in range(20):
        up = links_up(SOME, 5, 12, k)
        assert np.array_equal(up, up.T)
        assert not up.diagonal().any()


@pytest.mark.parametrize(("prob", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_certain_links_are_certain(prob, share):
    up = links_up(c.Churn(link_up_prob=prob), 5, 30, 2)
    assert up[~np.eye(30, dtype=bool)].mean() == share


def test_links_that_nothing_can_change_are_handed_back_themselves():
    linked = ~np.eye(4, dtype=bool)
    assert reachable(linked, c.Churn(), 3, 17) is linked


@pytest.mark.parametrize(
    "churn", [SOME, c.Churn(link_up_prob=0.5), c.Churn(leave_prob=0.4, return_prob=0.4)]
)
def test_reachable_are_links_that_are_up_between_devices_that_are_present(churn):
    linked = np.triu(np.ones((10, 10), dtype=bool), 1)  # one-way links stay one-way
    for k in range(30):
        here, up = present(churn, 3, 10, k), links_up(churn, 3, 10, k)
        by_hand = [
            [bool(linked[i, j] and here[i] and here[j] and up[i, j]) for j in range(10)]
            for i in range(10)
        ]
        assert reachable(linked, churn, 3, k).tolist() == by_hand


def test_the_mesh_itself_is_left_as_it_was():
    linked = ~np.eye(10, dtype=bool)
    reachable(linked, SOME, 3, 5)
    assert np.array_equal(linked, ~np.eye(10, dtype=bool))


def test_methods_meet_the_same_links_because_only_the_seed_is_asked():
    # Asking for links in between moves no presence, and the other way round.
    calm = c.Churn(leave_prob=0.2, return_prob=0.3)
    for k in range(40):
        links_up(SOME, 6, 8, k)
        assert np.array_equal(present(SOME, 6, 8, k), present(calm, 6, 8, k))
