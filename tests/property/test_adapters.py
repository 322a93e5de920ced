"""Laws of the algebra on adapters, in float64."""

import torch
from hypothesis import given, strategies as st

from meshtune.engine.adapters.stack import (
    Adapters,
    distance_to_mean,
    flatten,
    mean,
    mix,
    stack,
    unflatten,
)

sizes = st.integers(1, 6)
seeds = st.integers(0, 2**31)


def random_adapters(seed: int, n: int) -> Adapters:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Adapters(
        {"q": draw(n, 2, 5), "down": draw(n, 2, 3)}, {"q": draw(n, 4, 2), "down": draw(n, 6, 2)}
    )


def doubly_stochastic(seed: int, n: int) -> torch.Tensor:
    """A random convex combination of permutations, which is doubly stochastic by construction."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(4, generator=generator, dtype=torch.float64)
    eye = torch.eye(n, dtype=torch.float64)
    orders = [torch.randperm(n, generator=generator) for _ in shares]
    return sum(
        (share * eye[order] for share, order in zip(shares / shares.sum(), orders, strict=True)),
        torch.zeros(n, n, dtype=torch.float64),
    )


def close(x: Adapters, y: Adapters) -> None:
    torch.testing.assert_close(flatten(x.a), flatten(y.a), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(flatten(x.b), flatten(y.b), rtol=1e-12, atol=1e-12)


@given(seeds, sizes)
def test_doubly_stochastic_mixing_keeps_the_mean(seed: int, n: int) -> None:
    adapters = random_adapters(seed, n)
    close(mean(mix(adapters, doubly_stochastic(seed, n))), mean(adapters))


@given(seeds, sizes)
def test_doubly_stochastic_mixing_never_moves_the_fleet_apart(seed: int, n: int) -> None:
    adapters = random_adapters(seed, n)
    before = distance_to_mean(adapters).square().sum()
    after = distance_to_mean(mix(adapters, doubly_stochastic(seed, n))).square().sum()
    assert after <= before * (1 + 1e-12) + 1e-12


@given(seeds, sizes)
def test_mixing_is_linear_and_composes(seed: int, n: int) -> None:
    adapters = random_adapters(seed, n)
    first, second = doubly_stochastic(seed + 1, n), doubly_stochastic(seed + 2, n)
    close(mix(mix(adapters, first), second), mix(adapters, second @ first))


@given(seeds, sizes)
def test_a_permutation_of_devices_commutes_with_their_distance(seed: int, n: int) -> None:
    adapters = random_adapters(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = mix(adapters, torch.eye(n, dtype=torch.float64)[order])
    torch.testing.assert_close(distance_to_mean(moved), distance_to_mean(adapters)[order])


@given(seeds, sizes)
def test_flatten_and_stack_lose_nothing(seed: int, n: int) -> None:
    adapters = random_adapters(seed, n)
    again = Adapters(
        unflatten(flatten(adapters.a), adapters.a), unflatten(flatten(adapters.b), adapters.b)
    )
    close(again, adapters)
    assert torch.equal(flatten(stack([adapters, adapters]).a)[n:], flatten(adapters.a))
