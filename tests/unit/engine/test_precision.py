"""Values on air: what rounding may move, and what bits cost."""

import pytest
import torch
from torch.testing import assert_close

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.ledger import value_cost_bits
from meshtune.engine.methods.shared.precision import on_air


def drawn(scale: float = 1.0) -> Adapters:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=generator)

    return Adapters({"m": normal(3, 2, 7)}, {"m": normal(3, 5, 2)})


def test_thirty_two_bits_change_nothing() -> None:
    own = drawn()
    assert torch.equal(on_air(own, 32).a["m"], own.a["m"])
    assert torch.equal(on_air(own, 32).b["m"], own.b["m"])


def test_sixteen_bits_are_half_precision() -> None:
    own = drawn()
    assert torch.equal(on_air(own, 16).b["m"], own.b["m"].half().float())
    assert torch.equal(on_air(own, 16).a["m"], own.a["m"].half().float())


@pytest.mark.parametrize(("bits", "levels"), [(8, 127), (4, 7)])
def test_integers_are_rounded_with_one_scale_per_rank(bits: int, levels: int) -> None:
    own = drawn()
    rounded = on_air(own, bits)
    for device in range(3):
        for rank in range(2):
            for values, got in (
                (own.a["m"][device, rank], rounded.a["m"][device, rank]),
                (own.b["m"][device, :, rank], rounded.b["m"][device, :, rank]),
            ):
                scale = float(max(abs(v) for v in values.tolist()))
                scale = float(torch.tensor(scale).half())
                steps = [
                    max(-levels, min(levels, round(v / scale * levels))) for v in values.tolist()
                ]
                assert_close(got, torch.tensor([step * scale / levels for step in steps]))


def test_four_bits_worked_by_hand() -> None:
    b = torch.tensor([[[7.0], [3.4], [-3.6], [0.4], [0.0]]])
    got = on_air(Adapters({}, {"m": b}), 4).b["m"]
    assert got.flatten().tolist() == [7.0, 3.0, -4.0, 0.0, 0.0]


@pytest.mark.parametrize("bits", [32, 16, 8, 4])
def test_a_column_of_zeros_stays_zero_and_finite(bits: int) -> None:
    b = torch.tensor([[[0.0, 1.0], [0.0, -2.0]]])
    assert on_air(Adapters({}, {"m": b}), bits).b["m"][0, :, 0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_values_too_small_for_half_precision_arrive_as_zero(bits: int) -> None:
    assert not on_air(drawn(1e-12), bits).b["m"].any()


@pytest.mark.parametrize("bits", [32, 16, 8, 4])
def test_a_value_that_is_no_number_is_not_hidden(bits: int) -> None:
    b = torch.tensor([[[1.0], [float("nan")]]])
    assert on_air(Adapters({}, {"m": b}), bits).b["m"].isnan().any()


@pytest.mark.parametrize(
    ("bits", "expected"), [(32, 32_000), (16, 16_000), (8, 8_000 + 16 * 24), (4, 4_000 + 16 * 24)]
)
def test_only_integers_pay_for_scales(bits: int, expected: int) -> None:
    assert value_cost_bits(1000, 24, bits) == expected


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_a_value_beyond_half_precision_does_not_arrive_as_a_plausible_number(bits: int) -> None:
    b = torch.tensor([[[1e5], [1.0]]])
    assert not on_air(Adapters({}, {"m": b}), bits).b["m"][0, 0].isfinite().any()
