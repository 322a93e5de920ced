"""What parts of a message cost: places by each code, masks and signatures counted unseen (M11)."""

from math import comb, log2
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from meshtune.engine.adapters.masks import disjoint_masks, top_masks
from meshtune.engine.config import Model
from meshtune.engine.ledger import PlacesCode, places_bits
from meshtune.engine.methods.gates import GateName
from meshtune.engine.methods.shared.signatures import signatures
from meshtune.engine.methods.shared.told import signature_values
from meshtune.engine.methods.so_lora.books import expected_union
from meshtune.engine.methods.so_lora.config import SoLora
from meshtune.engine.methods.so_lora.masks import kept_entries
from meshtune.engine.models.door import facts_of
from tests.support.methods import RANK, SHAPES, VALUES_B

CODES = get_args(PlacesCode)
GATES = get_args(GateName)


@pytest.mark.parametrize(
    ("values", "entries", "expected"),
    [
        # bitmap, numbers, least, entropy
        (500, 1000, (1000, 5000, 1000, 1000)),
        (100, 1000, (1000, 1000, 1000, 469)),  # H2(.1) = 0.468996
        (50, 1000, (1000, 500, 500, 287)),  # H2(.05) = 0.286397
        (1, 1024, (1024, 10, 10, 12)),  # 10 + 1.44 for one of 1024
        (1, 2, (2, 1, 1, 2)),
        (3, 4, (4, 6, 4, 4)),  # H2(3/4) = 0.811
    ],
)
def test_places_by_hand(values, entries, expected):
    by_code = {code: places_bits(values, entries, code) for code in CODES}
    assert by_code == dict(zip(("bitmap", "numbers", "least", "entropy"), expected, strict=True))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("entries", [1, 2, 7, 52_224])
def test_whoever_sends_everything_or_nothing_names_no_places(code, entries):
    assert places_bits(entries, entries, code) == places_bits(0, entries, code) == 0


@given(st.integers(2, 3000).flatmap(lambda n: st.tuples(st.integers(1, n - 1), st.just(n))))
def test_an_entropy_code_is_as_short_as_counting_all_choices_allows(pair):
    """log2 C(n, k) <= n H2(k/n) <= log2 C(n, k) + log2(n + 1): the method of types."""
    values, entries = pair
    choices = log2(comb(entries, values))
    assert choices - 1e-6 <= places_bits(values, entries, "entropy")
    assert places_bits(values, entries, "entropy") <= choices + log2(entries + 1) + 1


@given(st.integers(2, 3000).flatmap(lambda n: st.tuples(st.integers(1, n - 1), st.just(n))))
def test_each_code_can_be_read_back(pair):
    """A code of fixed length needs as many bits as there are choices, numbers one word each."""
    values, entries = pair
    for code in ("bitmap", "numbers", "least"):
        assert 2 ** places_bits(values, entries, code) >= comb(entries, values)
    word = places_bits(values, entries, "numbers") // values
    assert 2 ** (word - 1) < entries <= 2**word


def factors(devices: int) -> dict[str, torch.Tensor]:
    """B of some devices after a warm-up."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(devices, d_out, RANK, generator=generator)
        for name, (d_out, _) in SHAPES.items()
    }


def counted(masks: dict[str, torch.Tensor]) -> list[int]:
    """Entries that each device keeps."""
    return torch.stack([mask.flatten(1).sum(dim=1) for mask in masks.values()]).sum(dim=0).tolist()


@pytest.mark.parametrize("density", [0.01, 0.125, 0.3, 0.5, 0.99])
@pytest.mark.parametrize("mask", ["layer", "global", "column"])
def test_the_size_of_a_mask_is_known_before_training(mask, density):
    rule, cluster = SoLora(mask=mask, density=density), np.zeros(3, dtype=np.int64)
    drawn = top_masks(factors(3), density, mask)
    assert kept_entries(rule, SHAPES, RANK, cluster).tolist() == counted(drawn)


@pytest.mark.parametrize("density", [0.01, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    ("cluster", "place", "most"),
    [
        ([0], [0], 1),
        ([0, 0, 0], [0, 1, 2], 3),
        ([1, 0, 1, 1, 0, 2], [0, 0, 1, 2, 1, 0], 3),
        # More devices than some modules have entries.
        ([0] * 25, list(range(25)), 25),
    ],
)
def test_so_is_that_of_masks_dealt_out_in_the_cluster(cluster, place, most, density):
    rule = SoLora(mask="disjoint", density=density)
    drawn = disjoint_masks(factors(len(cluster)), density, np.array(place), most)
    assert kept_entries(rule, SHAPES, RANK, np.array(cluster)).tolist() == counted(drawn)


def test_without_a_mask_everything_is_kept_and_a_spectral_density_counts_as_uniform():
    cluster = np.zeros(2, dtype=np.int64)
    assert kept_entries(SoLora(density=1.0), SHAPES, RANK, cluster).tolist() == [VALUES_B] * 2
    spectral = SoLora(density=0.5, density_by="spectral")
    assert kept_entries(spectral, SHAPES, RANK, cluster).tolist() == [VALUES_B // 2] * 2


@pytest.mark.parametrize(
    ("members", "disjoint", "expected"),
    [
        ([True, False, False], False, 50),
        ([True, True, False], False, 75),  # 100 (1 - 1/4)
        ([True, True, True], False, 100),
        ([True, True, False], True, 100),
        ([False, True, True], True, 100),
    ],
)
def test_a_union_of_masks_unseen_is_that_of_independent_ones(members, disjoint, expected):
    kept = np.array([50, 50, 100])
    union = expected_union(kept, 100, disjoint, np.array([members] * 3))
    assert union.tolist() == [expected] * 3


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("samples", [2, 9])
def test_what_a_gate_must_know_is_counted_as_it_is_computed(gate, samples):
    generator = torch.Generator().manual_seed(2)
    read: dict[tuple[str, str], torch.Tensor] = {}
    inputs = {}
    for name, (_, d_in) in facts_of(Model()).shapes.items():
        block, _, module = name.rpartition(".")
        same = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}.get(module, module)
        drawn = torch.randn(1, samples, d_in, generator=generator)
        inputs[name] = read.setdefault((block, same), drawn)
    told = signatures(gate, inputs)
    distinct = {id(value): value for kinds in told.values() for value in kinds.values()}
    counted_values = sum(value[0].numel() for value in distinct.values())
    assert signature_values(gate, facts_of(Model()).shapes, samples) == counted_values


def test_a_prototype_of_the_embedded_model_has_an_entry_per_distinct_input():
    """Four layers: the inputs of q, k, v; of o; of gate and up; of down."""
    assert signature_values("prototype", facts_of(Model()).shapes, 2000) == 4 * (3 * 160 + 416)
