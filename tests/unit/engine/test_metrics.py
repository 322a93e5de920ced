"""Metrics of the fleet against dense sums, one pair at a time, and in their limits."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshtune.engine.adapters.stack import Adapters, select
from meshtune.engine.answering import interference, metrics
from meshtune.engine.answering.interference import Questions, output_interference
from meshtune.engine.answering.metrics import (
    Exchange,
    cluster_distances,
    fleet_metrics,
    mask_collisions,
    parameters_trained,
    principal_cosine,
    update_cosines,
    update_retention,
)
from meshtune.engine.methods.rules import Bank, Gate
from meshtune.engine.topology import Mesh
from meshtune.engine.weights import metropolis_weights, spectral_gap

SHAPES = {"q": (5, 6), "up": (9, 6), "down": (4, 9)}  # d_out, d_in
B_ONLY = frozenset({"b"})


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def adapters(seed: int, devices: int = 4, rank: int = 2) -> Adapters:
    a = {k: draw(seed + i, devices, rank, s[1]) for i, (k, s) in enumerate(SHAPES.items())}
    b = {k: draw(seed + 9 + i, devices, s[0], rank) for i, (k, s) in enumerate(SHAPES.items())}
    return Adapters(a, b)


def dense(value: Adapters, device: int) -> Tensor:
    """All updates of one device, formed and laid end to end, in double precision."""
    parts = []
    for name, b in value.b.items():
        update = b[device].double()
        if name in value.a:
            update = update @ value.a[name][device].double()
        parts.append(update.flatten())
    return torch.cat(parts)


def full_updates(seed: int, devices: int = 3) -> Adapters:
    return Adapters({}, {k: draw(seed + i, devices, *s) for i, (k, s) in enumerate(SHAPES.items())})


def partly_full() -> Adapters:
    low = adapters(3)
    return Adapters(
        {k: v for k, v in low.a.items() if k != "q"}, {**low.b, "q": draw(5, 4, *SHAPES["q"])}
    )


def mesh_of(cluster: list[int], silent: tuple[int, int] = (0, 0)) -> Mesh:
    """Every pair linked but one."""
    n = len(cluster)
    linked = ~np.eye(n, dtype=bool)
    linked[silent] = linked[silent[::-1]] = False
    return Mesh(np.zeros((n, 2)), linked, np.array(cluster))


# Cosines of updates


@pytest.mark.parametrize("value", [adapters(0), full_updates(1), partly_full()])
def test_cosines_are_those_of_the_updates_written_out(value: Adapters) -> None:
    rows = [dense(value, i) for i in range(len(value.b["q"]))]
    expected = [[float(x @ y / (x.norm() * y.norm())) for y in rows] for x in rows]
    assert_close(update_cosines(value), torch.tensor(expected), atol=1e-5, rtol=0)


def test_many_devices_are_compared_in_parts_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = adapters(0, devices=7)
    at_once = update_cosines(value)
    monkeypatch.setattr(metrics, "BLOCK_VALUES", 60)  # two devices at a time, the last alone
    assert_close(update_cosines(value), at_once)


def test_updates_with_orthogonal_a_have_cosine_zero_and_scaled_copies_one_or_minus_one() -> None:
    rows = torch.linalg.qr(draw(0, 6, 6)).Q
    a = {"q": torch.stack([rows[:2], rows[2:4], rows[:2], rows[:2]])}
    b = draw(1, 4, 5, 2)
    b[2], b[3] = 3 * b[0], -b[0]
    expected = torch.tensor([1.0, 0.0, 1.0, -1.0])
    assert_close(update_cosines(Adapters(a, {"q": b}))[0], expected, atol=1e-5, rtol=0)


def test_a_device_without_an_update_has_no_cosine() -> None:
    value = adapters(0)
    silent = Adapters(
        value.a, {k: b * torch.tensor([0.0, 1, 1, 1])[:, None, None] for k, b in value.b.items()}
    )
    cosines = update_cosines(silent)
    assert cosines[0].isnan().all()
    assert not cosines[1:, 1:].isnan().any()


# Angles between subspaces


def slow_cosine(x: Tensor, y: Tensor) -> float:
    projected = [torch.linalg.pinv(rows) @ rows for rows in (x.double(), y.double())]
    # Cosines of the principal angles are the singular values of the product of both projections.
    return float(torch.linalg.svdvals(projected[0] @ projected[1])[0])


def test_principal_cosine_is_the_norm_of_the_product_of_projections() -> None:
    a = adapters(4, devices=3).a
    expected = torch.tensor(
        [
            [np.mean([slow_cosine(v[i], v[j]) for v in a.values()]) for j in range(3)]
            for i in range(3)
        ]
    )
    assert_close(principal_cosine(a).double(), expected, atol=1e-5, rtol=0)


def test_principal_cosine_is_zero_for_orthogonal_rows_and_one_for_one_row_space() -> None:
    rows = torch.linalg.qr(draw(0, 8, 8)).Q
    turned = draw(1, 2, 2) @ rows[:2]  # other rows, the same space
    a = {"m": torch.stack([rows[:2], rows[2:4], turned, rows[1:3]])}
    expected = torch.tensor([1.0, 0.0, 1.0, 1.0])  # the last shares one direction
    assert_close(principal_cosine(a)[0], expected, atol=1e-5, rtol=0)


def test_row_spaces_too_large_to_avoid_each_other_have_cosine_one() -> None:
    a = {"m": draw(0, 2, 4, 6)}
    assert principal_cosine(a).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert slow_cosine(a["m"][0], a["m"][1]) == pytest.approx(1.0)


def test_devices_with_one_a_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    base = adapters(4, devices=3).a
    group = [0, 1, 0, 2, 1]
    pairs = []
    compute = metrics._largest_cosines

    def counted(a: Tensor, left: Tensor, right: Tensor) -> Tensor:
        pairs.append(len(left))
        return compute(a, left, right)

    monkeypatch.setattr(metrics, "_largest_cosines", counted)
    table = principal_cosine({k: v[group] for k, v in base.items()})
    assert pairs == [3, 3, 3]  # three different A, three modules
    assert_close(table, principal_cosine(base)[group][:, group])


# What an exchange leaves


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (adapters(0), adapters(50)),
        (full_updates(1), full_updates(30)),
        (adapters(0), Adapters(adapters(0).a, adapters(50).b)),
    ],
)
def test_retention_is_the_projection_on_the_own_update(before: Adapters, after: Adapters) -> None:
    expected = []
    for i in range(len(before.b["q"])):
        own = dense(before, i)
        expected.append(float(dense(after, i) @ own / (own @ own)))
    assert_close(update_retention(before, after), torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_retention_is_one_without_exchange_and_a_share_after_a_mean_of_unrelated_updates() -> None:
    value = full_updates(0, devices=2)
    rows = torch.linalg.qr(draw(1, 30, 2)).Q.mT.reshape(2, 5, 6)
    own = Adapters({}, {"q": rows})
    mean = Adapters({}, {"q": rows.mean(dim=0).expand(2, 5, 6)})
    turned = Adapters({}, {k: -b for k, b in value.b.items()})
    assert_close(update_retention(value, value), torch.ones(2))
    assert_close(update_retention(own, mean), torch.full((2,), 0.5))
    assert_close(update_retention(value, turned), -torch.ones(2))


def test_distances_are_taken_within_clusters() -> None:
    b = torch.tensor([0.0, 2.0, 10.0, 16.0, 5.0]).reshape(5, 1, 1)
    distances = cluster_distances(Adapters({}, {"m": b}), np.array([0, 0, 1, 1, 2]))
    assert distances.tolist() == [1.0, 1.0, 3.0, 3.0, 0.0]


def test_trained_values_are_those_that_masks_and_frozen_factors_leave() -> None:
    value = adapters(0, devices=2)
    masks = {k: torch.zeros_like(b, dtype=torch.bool) for k, b in value.b.items()}
    masks["q"][0, :3] = True  # three rows of rank 2
    masks["up"][1] = True
    in_a, in_b = 2 * (6 + 6 + 9), 2 * (5 + 9 + 4)
    assert parameters_trained(value, masks, B_ONLY).tolist() == [6, 18]
    assert parameters_trained(value, None, B_ONLY).tolist() == [in_b, in_b]
    assert parameters_trained(value, None, frozenset({"a"})).tolist() == [in_a, in_a]
    assert parameters_trained(value, masks, B_ONLY | {"a"}).tolist() == [in_a + 6, in_a + 18]
    assert parameters_trained(full_updates(0), None, B_ONLY).tolist() == [5 * 6 + 9 * 6 + 4 * 9] * 3


# Interference at the output


def bank_of(experts: Adapters, held: list[list[int]], task: list[int]) -> Bank:
    return Bank(experts, torch.tensor(held), torch.tensor(task), Gate("none"), {})


def exam(questions: list[int], seed: int = 7) -> Questions:
    shared = draw(seed, len(questions), 6)
    inputs = {"q": shared, "up": shared, "down": draw(seed + 1, len(questions), 9)}
    return Questions(inputs, torch.tensor(questions))


def slow_interference(
    bank: Bank, own: list[int], asked: Questions, gates: dict[str, Tensor]
) -> list[float]:
    """One device, module, question and expert at a time."""
    means = []
    for i, task in enumerate(own):
        ratios = []
        for name in bank.experts.b:
            for q in (asked.task == task).nonzero().flatten().tolist():
                others: Tensor = torch.zeros(())
                mine: Tensor = torch.zeros(())
                for k, e in enumerate(bank.held[i].tolist()):
                    if e < 0:
                        continue
                    x = asked.inputs[name][q]
                    inner = bank.experts.a[name][e] @ x if name in bank.experts.a else x
                    heard = bank.experts.b[name][e] @ inner
                    if bank.task[e] == task:
                        mine = mine + heard
                    else:
                        others = others + gates[name][i, q, k] * heard
                ratios.append(float(others.norm() / mine.norm()))
        means.append(float(np.mean(ratios)))
    return means


OWN = [0, 1, 2, 0]
HELD = [[0, 1, 2], [4, 1, -1], [0, -1, 2], [3, 1, 0]]
TASK = [0, 1, 2, 0, 0]
ASKED = [0, 1, 2, 0, 0, 2, 1]  # unequal numbers per task


@pytest.mark.parametrize(
    "experts", [adapters(0, devices=5), full_updates(2, devices=5)], ids=["low rank", "full"]
)
@pytest.mark.parametrize("at_once", [16, 3])
def test_interference_is_that_of_one_expert_at_a_time(
    experts: Adapters, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interference, "DEVICES_AT_ONCE", at_once)
    bank, asked = bank_of(experts, HELD, TASK), exam(ASKED)
    gates = {name: draw(20 + i, 4, 7, 3).abs() for i, name in enumerate(SHAPES)}
    open_gates = {name: torch.ones(4, 7, 3) for name in SHAPES}
    own = torch.tensor(OWN)
    for given, used in ((None, open_gates), (gates, gates)):
        expected = torch.tensor(slow_interference(bank, OWN, asked, used))
        assert_close(output_interference(bank, own, asked, given), expected, atol=1e-5, rtol=1e-5)


def test_one_gate_table_stands_for_all_devices_and_modules() -> None:
    bank, asked, own = bank_of(adapters(0, devices=5), HELD, TASK), exam(ASKED), torch.tensor(OWN)
    table = draw(3, 7, 3).abs()
    everywhere = {name: table.expand(4, 7, 3) for name in SHAPES}
    expected = output_interference(bank, own, asked, everywhere)
    assert_close(output_interference(bank, own, asked, table), expected)
    assert_close(output_interference(bank, own, asked, dict.fromkeys(SHAPES, table)), expected)


def test_a_gate_that_picks_the_own_expert_silences_all_others() -> None:
    bank, asked = bank_of(adapters(0, devices=3), [[0, 1, 2]] * 3, [0, 1, 2]), exam([0, 1, 2, 1])
    own = torch.tensor([0, 1, 2])
    right = torch.nn.functional.one_hot(asked.task, 3).float()
    assert output_interference(bank, own, asked, right).tolist() == [0.0, 0.0, 0.0]
    assert (output_interference(bank, own, asked) > 0.1).all()
    wrong = output_interference(bank, own, asked, 1 - right)  # finite although the own gate is 0
    assert_close(wrong, output_interference(bank, own, asked))


def test_a_device_with_its_own_expert_alone_is_not_disturbed() -> None:
    bank = bank_of(adapters(0, devices=2), [[0], [1]], [0, 1])
    assert output_interference(bank, torch.tensor([0, 1]), exam([0, 1])).tolist() == [0.0, 0.0]


def test_an_expert_twice_as_loud_disturbs_by_two_and_experts_of_the_own_task_do_not() -> None:
    one = Adapters(
        {}, {"m": torch.eye(3).expand(3, 3, 3) * torch.tensor([1.0, 2, 1])[:, None, None]}
    )
    asked = Questions({"m": draw(0, 2, 3)}, torch.tensor([0, 0]))
    own = torch.tensor([0])
    assert_close(
        output_interference(bank_of(one, [[0, 1]], [0, 1, 0]), own, asked), torch.tensor([2.0])
    )
    assert_close(
        output_interference(bank_of(one, [[0, 2]], [0, 1, 0]), own, asked), torch.tensor([0.0])
    )


def test_without_own_expert_or_own_questions_there_is_no_interference_to_tell() -> None:
    bank = bank_of(adapters(0, devices=2), [[1], [1]], [0, 1])
    assert output_interference(bank, torch.tensor([0, 2]), exam([0, 0, 1])).isnan().all()


def test_experts_with_unrelated_outputs_disturb_by_the_root_of_their_number() -> None:
    experts = Adapters({"m": draw(0, 4, 8, 400) / 20}, {"m": draw(1, 4, 300, 8)})
    asked = Questions({"m": draw(2, 64, 400)}, torch.zeros(64, dtype=torch.int64))
    bank = bank_of(experts, [[0, 1, 2, 3]], [0, 1, 2, 3])
    ratio = float(output_interference(bank, torch.tensor([0]), asked))
    assert ratio == pytest.approx(math.sqrt(3), rel=0.12)


# Collisions


def counted_collisions(mask: Tensor) -> tuple[float, float]:
    """Shares of all and of own entries that collide, one entry at a time; `mask` is (m, p)."""
    rows = mask.tolist()
    columns = list(zip(*rows, strict=True))
    shared = sum(sum(column) >= 2 for column in columns) / len(columns)
    own = [
        sum(columns[p].count(True) > 1 for p in range(len(columns)) if row[p]) / sum(row)
        for row in rows
    ]
    return shared, float(np.mean(own))


def test_collisions_are_means_over_clusters_of_two_or_more() -> None:
    masks = {
        k: draw(i, 6, *s) > 0.4 for i, (k, s) in enumerate({"q": (5, 2), "up": (9, 2)}.items())
    }
    groups = [[0, 1, 2], [3, 4], [5]]
    flat = torch.cat([m.flatten(1) for m in masks.values()], dim=1)
    counts = np.mean([counted_collisions(flat[g]) for g in groups[:2]], axis=0)
    formula = []
    for members in groups[:2]:
        for mask in masks.values():
            s = mask[members].flatten(1).double().mean(dim=1).tolist()
            nobody = math.prod(1 - x for x in s)
            one = sum(
                x * math.prod(1 - y for z, y in enumerate(s) if z != j) for j, x in enumerate(s)
            )
            formula.append((1 - nobody - one) / 2)  # two modules
    found = mask_collisions(masks, groups)
    assert found.empirical == pytest.approx(counts[0])
    assert found.own == pytest.approx(counts[1])
    assert found.analytic == pytest.approx(np.sum(formula) / 2)


def test_collisions_of_two_devices_at_density_s_are_s_squared_and_s() -> None:
    kept = torch.rand(2, 400, 100, generator=torch.Generator().manual_seed(0)) < 0.3
    found = mask_collisions({"m": kept}, [[0, 1]])
    assert found.analytic == pytest.approx(0.09, abs=0.002)
    assert found.empirical == pytest.approx(0.09, abs=5 * math.sqrt(0.09 * 0.91 / 40_000))
    assert found.own == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / 12_000))


def test_disjoint_masks_and_lone_devices_never_collide_and_dense_ones_always() -> None:
    halves = torch.zeros(2, 4, 2, dtype=torch.bool)
    halves[0, :2] = halves[1, 2:] = True
    disjoint = mask_collisions({"m": halves}, [[0, 1]])
    assert (disjoint.empirical, disjoint.own) == (0.0, 0.0)
    assert disjoint.analytic == pytest.approx(0.25)  # the formula knows densities only
    assert mask_collisions({"m": halves}, [[0], [1]]) == (0.0, 0.0, 0.0)
    assert mask_collisions({"m": torch.ones_like(halves)}, [[0, 1]]) == (1.0, 1.0, 1.0)


# All together


def play(after: Adapters | None = None) -> Exchange:
    before = adapters(0)
    masks = {k: draw(40 + i, *b.shape) > 0 for i, (k, b) in enumerate(before.b.items())}
    return Exchange(before, before if after is None else after, masks, B_ONLY)


def test_all_numbers_come_together_under_their_names() -> None:
    exchange, own = play(adapters(60)), torch.tensor([0, 1, 0, 1])
    bank, asked = bank_of(exchange.after, [[0, 1]] * 4, [0, 1, 0, 1]), exam([0, 1, 1])
    gates = draw(5, 3, 2).abs()
    mesh = mesh_of([0, 0, 1, 1], silent=(0, 2))
    found = fleet_metrics(exchange, mesh, bank, own, asked, gates)
    cosines, angles = update_cosines(exchange.before), principal_cosine(exchange.before.a)
    collisions = mask_collisions(exchange.masks or {}, [[0, 1], [2, 3]])
    expected = {
        "update_cosine_same_task": (cosines[0, 2] + cosines[1, 3]) / 2,
        "update_cosine_other_task": cosines[[0, 0, 1, 2], [1, 3, 2, 3]].mean(),
        "principal_cosine_same_task": (angles[0, 2] + angles[1, 3]) / 2,
        "principal_cosine_other_task": angles[[0, 0, 1, 2], [1, 3, 2, 3]].mean(),
        "update_retention_fraction": update_retention(exchange.before, exchange.after).mean(),
        "trained_values_per_device": parameters_trained(
            exchange.before, exchange.masks, B_ONLY
        ).mean(),
        "spectral_gap": spectral_gap(metropolis_weights(mesh.linked)),
        "spectral_gap_in_clusters": 1.0,
        "consensus_distance_in_clusters": cluster_distances(
            exchange.after, np.array([0, 0, 1, 1])
        ).mean(),
        "collision_analytic_fraction": collisions.analytic,
        "collision_empirical_fraction": collisions.empirical,
        "collision_own_fraction": collisions.own,
        "output_interference_ungated": output_interference(bank, own, asked).mean(),
        "output_interference_gated": output_interference(bank, own, asked, gates).mean(),
    }
    assert found == pytest.approx({name: float(value) for name, value in expected.items()})


def test_numbers_without_meaning_are_left_out() -> None:
    whole = full_updates(0, devices=2)
    exchange = Exchange(whole, whole, None, B_ONLY)
    bank = bank_of(whole, [[0], [1]], [0, 1])
    mesh = mesh_of([0, 1])
    found = fleet_metrics(
        exchange, mesh, bank, torch.tensor([0, 1]), Questions({}, torch.tensor([0, 1]))
    )
    assert set(found) == {
        "update_cosine_other_task",
        "update_retention_fraction",
        "trained_values_per_device",
        "spectral_gap",
        "consensus_distance_in_clusters",
    }


def test_a_fleet_that_has_learned_nothing_yet_has_finite_numbers_only() -> None:
    start = Adapters(adapters(0).a, {k: torch.zeros_like(b) for k, b in adapters(0).b.items()})
    bank = bank_of(start, [[0, 1]] * 4, [0, 1, 0, 1])
    found = fleet_metrics(
        Exchange(start, start, None, B_ONLY),
        mesh_of([0, 0, 0, 0]),
        bank,
        torch.tensor([0, 1, 0, 1]),
        exam([0, 1]),
    )
    assert all(math.isfinite(value) for value in found.values())
    assert "update_retention_fraction" not in found
    assert "output_interference_ungated" not in found


def test_one_device_alone_has_no_pairs() -> None:
    alone = select(adapters(0), [0])
    found = fleet_metrics(
        Exchange(alone, alone, None, B_ONLY),
        mesh_of([0]),
        bank_of(alone, [[0]], [0]),
        torch.tensor([0]),
        exam([0, 0]),
    )
    assert not any("cosine" in name for name in found)
    assert found["spectral_gap"] == 1.0
    assert found["update_retention_fraction"] == pytest.approx(1.0)
