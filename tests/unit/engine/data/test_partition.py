"""Samples are dealt out, each to one device, as evenly as the rule says."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

from meshtune.engine.data.partition import PARTITIONS, Dirichlet, OneTask, Quantity, dealt

SAMPLES = (1_000, 500, 20)
RULES = [kind() for kind in PARTITIONS.values()]
ANY_RULE = st.one_of(
    st.just(OneTask()),
    st.builds(Dirichlet, alpha=st.floats(0.01, 1e6)),
    st.builds(Quantity, alpha=st.floats(0.01, 1e6)),
)


@given(
    rule=ANY_RULE,
    devices=st.integers(1, 40),
    samples=st.lists(st.integers(0, 10_000), min_size=1, max_size=6).map(tuple),
    seed=st.integers(0, 2**32),
)
def test_every_sample_has_one_device(
    rule: OneTask | Dirichlet | Quantity, devices: int, samples: tuple[int, ...], seed: int
) -> None:
    table = dealt(rule, devices, samples, seed)
    assert table.shape == (devices, len(samples))
    assert (table >= 0).all()
    whole = np.array(samples)
    if isinstance(rule, OneTask):
        whole[devices:] = 0  # nobody is left for them
    assert (table.sum(axis=0) == whole).all()


@pytest.mark.parametrize("rule", RULES, ids=PARTITIONS)
def test_one_seed_deals_the_same_again(rule: OneTask | Dirichlet | Quantity) -> None:
    table = dealt(rule, 8, SAMPLES, 3)
    assert (table == dealt(rule, 8, SAMPLES, 3)).all()
    assert (table == dealt(rule, 8, SAMPLES, 4)).all() == isinstance(rule, OneTask)


def test_one_task_each_is_dealt_in_turn_and_evenly() -> None:
    table = dealt(OneTask(), 5, (100, 51), 0)
    assert table.tolist() == [[34, 0], [0, 26], [33, 0], [0, 25], [33, 0]]


def test_a_small_alpha_parts_tasks_and_a_large_one_mixes_them() -> None:
    parted, mixed = (dealt(Dirichlet(alpha=a), 40, (10_000,) * 4, 1) for a in (0.01, 1e6))
    assert np.median(parted.max(axis=1) / parted.sum(axis=1).clip(1)) > 0.95
    assert np.ptp(mixed) <= 5
    uneven = [
        np.std(dealt(Dirichlet(alpha=alpha), 40, (10_000,) * 4, 1)) for alpha in (0.1, 1.0, 10.0)
    ]
    assert all(more > less for more, less in pairwise(uneven))


def test_quantity_is_uneven_between_devices_and_not_between_tasks() -> None:
    table = dealt(Quantity(alpha=0.3), 10, (10_000, 20_000), 2)
    assert (np.abs(2 * table[:, 0] - table[:, 1]) <= 2).all()
    assert table[:, 0].max() > 3 * np.median(table[:, 0])
    assert np.ptp(dealt(Quantity(alpha=1e6), 10, (10_000,), 2)) <= 10


def test_another_device_changes_no_mixture_of_those_before() -> None:
    few, more = (Dirichlet().weights(devices, 3, 7) for devices in (4, 5))
    assert (more[:4] == few).all()
