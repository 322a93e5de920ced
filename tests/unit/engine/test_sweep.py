"""Sweeps: which cells a description gives, what is refused, how results are summed up."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError
from scipy import stats

from meshtune.engine.config import RunConfig, config_hash, plain_errors, with_values
from meshtune.engine.errors import ConfigFileError
from meshtune.engine.naming import NAME_MAX
from meshtune.engine.sweep import (
    CELLS_MAX,
    Span,
    SweepRefused,
    SweepSpec,
    cells,
    config_sha256,
    read_spec,
    run_name,
)
from meshtune.engine.sweep_results import METRICS, Outcome, best, default_goal, table


def spec(**values: Any) -> SweepSpec:
    return SweepSpec.model_validate(values)


def refusal(**values: Any) -> str:
    with pytest.raises(SweepRefused) as caught:
        cells(spec(**values))
    text = str(caught.value)
    assert "\n" not in text
    return text


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
)
def test_a_grid_has_every_combination_with_every_seed_once(rounds, batches, seeds) -> None:
    axes = {"rounds": rounds, "training.batch_size": batches}
    found = cells(spec(axes=axes, seeds=seeds))
    assert [(c.config.rounds, c.config.training.batch_size, c.config.seed) for c in found] == [
        (r, b, s) for r in rounds for b in batches for s in seeds
    ]


def test_a_sweep_without_axes_is_one_config_over_its_seeds() -> None:
    found = cells(spec(preset="quick", seeds=3))
    assert [cell.config.seed for cell in found] == [0, 1, 2]
    assert len({cell.config.model_copy(update={"seed": 0}).model_dump_json() for cell in found})


def test_a_list_has_its_rows_and_a_kind_brings_its_own_fields() -> None:
    rows = [{"method.kind": "local"}, {"method.kind": "so_lora", "method.density": 0.25}]
    found = cells(spec(mode="list", rows=rows))
    assert [cell.config.method.kind for cell in found] == ["local", "so_lora"]
    assert [cell.values for cell in found] == rows


def test_the_base_is_laid_over_the_preset() -> None:
    (cell,) = cells(spec(preset="lora_gossip", base={"rounds": 3, "training": {"batch_size": 4}}))
    assert cell.config.method.kind == "lora_gossip"
    assert (cell.config.rounds, cell.config.training.batch_size) == (3, 4)


def test_a_whole_config_as_base_is_that_config() -> None:
    config = with_values(RunConfig(), {"method.kind": "choco_gossip", "topology.kind": "ring"})
    (cell,) = cells(spec(base=config.model_dump(mode="json")))
    assert cell.config.model_copy(update={"name": config.name}) == config


axes_to_draw = {
    "training.learning_rate": {"from": 1e-4, "to": 1e-1, "scale": "log"},
    "training.batch_size": {"from": 1, "to": 8, "whole": True},
    "method.kind": ["local", "lora_gossip"],
}


@given(st.integers(0, 2**31 - 1))
def test_drawn_values_lie_in_their_range_and_come_again(draw_seed: int) -> None:
    asked = spec(mode="random", axes=axes_to_draw, samples=5, draw_seed=draw_seed)
    found = cells(asked)
    assert len(found) == 5
    for cell in found:
        assert 1e-4 <= cell.config.training.learning_rate <= 1e-1
        assert 1 <= cell.config.training.batch_size <= 8
    assert cells(asked) == found


def test_more_samples_and_axes_move_no_drawn_value() -> None:
    few = cells(spec(mode="random", axes=axes_to_draw, samples=3))
    rounds = {"rounds": {"from": 1, "to": 9, "whole": True}}
    many = cells(spec(mode="random", axes=axes_to_draw | rounds, samples=6))
    assert [{k: v for k, v in c.values.items() if k != "rounds"} for c in many[:3]] == [
        c.values for c in few
    ]


@given(
    st.floats(1e-6, 1e6),
    st.floats(1e-6, 1e6),
    st.integers(2, 40),
    st.sampled_from(["log", "linear"]),
)
def test_a_range_meets_both_ends_and_steps_evenly(start, to, steps, scale) -> None:
    span = Span.model_validate({"from": start, "to": to, "steps": steps, "scale": scale})
    values = span.values()
    assert values[0] == pytest.approx(start, rel=1e-9)
    assert values[-1] == pytest.approx(to, rel=1e-9)
    assert len(set(values)) == len(values)
    if len(values) == steps:
        even = [math.log(v) for v in values] if scale == "log" else values
        gaps = [b - a for a, b in itertools.pairwise(even)]
        slack = 1e-9 * (max(map(abs, even)) + 1)
        assert max(gaps) - min(gaps) <= slack


def test_steps_between_tenths_have_no_binary_dust() -> None:
    assert Span.model_validate({"from": 0.1, "to": 0.5, "steps": 5}).values() == [
        0.1, 0.2, 0.3, 0.4, 0.5,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"axes": {"training.learning_rate": [0.1, -1]}}, ("training.learning_rate", "-1")),
        ({"axes": {"rounds": [1.5]}}, ("axes.rounds", "1.5", "whole number")),
        ({"axes": {"nope.x": [1]}}, ("axes.nope.x", "no such field")),
        ({"axes": {"training.nope": [1]}}, ("axes.training.nope", "no such field")),
        ({"axes": {"training.lerning_rate": [1]}}, ("mean training.learning_rate?",)),
        ({"base": {"fleet": {"devises": 3}}}, ("mean fleet.devices?",)),
        ({"axes": {"method": [3]}}, ("axes.method", "3")),
        ({"axes": {"method.kind": ["magic"]}}, ("axes.method.kind", "magic")),
        (
            {
                "base": {"topology": {"kind": "k_nearest", "neighbours": 3}},
                "axes": {"fleet.devices": [8, 3]},
            },
            ("fleet.devices = 3", "topology.neighbours"),
        ),
        ({"mode": "list", "rows": [{"rounds": 1}, {"rounds": 0}]}, ("rows.1.rounds", "0")),
        ({"preset": "none"}, ("preset", "'none'", "quick")),
        ({"base": {"rounds": 0}}, ("base.rounds", "0")),
        ({"base": {"nope": {"x": 1}}}, ("base.nope.x", "no such field")),
    ],
)
def test_the_first_wrong_cell_is_one_sentence_with_axis_and_value(values, parts) -> None:
    text = refusal(**values)
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    "values",
    [
        {"axes": {"rounds": list(range(1, 502))}, "seeds": 2},
        {"axes": {"rounds": {"from": 1, "to": 900, "steps": 900, "whole": True}}, "seeds": [1, 2]},
        {"mode": "random", "axes": {"rounds": [1]}, "samples": 501, "seeds": 2},
        {"mode": "list", "rows": [{"rounds": 1}] * 501, "seeds": 2},
        {"seeds": 2**31 - 1},
        {"axes": {f"x{n}": [1] * 1000 for n in range(50)}},
    ],
)
def test_above_a_thousand_cells_is_refused_before_any_is_made(values) -> None:
    assert f"at most {CELLS_MAX:,}" in refusal(**values)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"mode": "list"}, "rows"),
        ({"mode": "list", "rows": [{"rounds": 1}], "axes": {"rounds": [1]}}, "axes"),
        ({"rows": [{"rounds": 1}]}, "rows"),
        ({"mode": "random"}, "axes"),
        ({"axes": {"seed": [1, 2]}}, "axes.seed"),
        ({"axes": {"name": ["a"]}}, "axes.name"),
        ({"axes": {"rounds": []}}, "axes.rounds.list"),
        ({"axes": {"rounds": 3}}, "axes.rounds"),
        ({"axes": {"rounds": {"from": 1}}}, "axes.rounds.range.to"),
        ({"seeds": 0}, "seeds.count"),
        ({"seeds": [-1]}, "seeds.list.0"),
        ({"seeds": "3"}, "seeds"),
        ({"axes": {"rounds": {"from": 0, "to": 1, "scale": "log"}}}, "from"),
        ({"axes": {"training.learning_rate": [math.nan]}}, "axes"),
        ({"axes": {"method.kind": ["\ud800"]}}, "axes"),
    ],
)
def test_a_description_that_does_not_fit_is_refused_at_its_field(values, field) -> None:
    with pytest.raises(ValidationError) as caught:
        spec(**values)
    found = plain_errors(caught.value.errors())
    assert found[0][0] == field


def test_equal_experiments_have_one_hash_whatever_their_name() -> None:
    one, other = cells(spec(name="a", axes={"training.learning_rate": [1, 1.0]}))
    assert one.sha256 == other.sha256
    assert one.sha256 == cells(spec(name="b", axes={"training.learning_rate": [1.0]}))[0].sha256
    assert one.sha256 != cells(spec(axes={"training.learning_rate": [0.5]}))[0].sha256
    named = one.config.model_copy(update={"name": "sweep"})
    assert one.sha256 == config_hash(named)
    assert config_sha256(RunConfig().model_dump(mode="json")) == config_sha256(
        RunConfig(name="other").model_dump(mode="json")
    )


@given(st.text(min_size=1), st.dictionaries(st.text(), st.text() | st.floats() | st.booleans()))
def test_the_name_of_a_run_is_always_valid(name, values) -> None:
    made = run_name(name, values)
    assert len(made) <= NAME_MAX
    assert RunConfig(name=made).name == made


def test_a_spec_survives_json_and_toml(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(
        'name = "rates"\npreset = "quick"\nseeds = [1, 2]\n[base]\nrounds = 2\n'
        "[axes]\ntraining.learning_rate = { from = 0.001, to = 0.1, steps = 3, scale = 'log' }\n"
        'method.kind = ["local", "lora_gossip"]\n',
        encoding="utf-8",
    )
    read = read_spec(file)
    assert list(read.axes) == ["training.learning_rate", "method.kind"]
    assert len(cells(read)) == 3 * 2 * 2
    assert SweepSpec.model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize("text", ["axes = 3", "rows = 1", "nonsense = 1", "[axes]\nrounds = 3"])
def test_a_file_that_is_no_sweep_is_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SweepRefused, match=text.split()[0].strip("[]")):
        read_spec(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match=r"none\.toml"):
        read_spec(tmp_path / "none.toml")


# Results


def outcome(value: float, seed: int, score: float | None, **changes: Any) -> Outcome:
    known = {"run_id": seed + 1, "status": "completed", **changes}
    metrics = dict.fromkeys(METRICS) | {"accuracy_all": score, "sent_bits": 100 - value}
    return Outcome(values={"x": value}, seed=seed, metrics=metrics, **known)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_a_row_has_the_mean_and_the_t_interval_of_its_completed_runs(scores) -> None:
    runs = [outcome(1, seed, score) for seed, score in enumerate(scores)]
    runs.append(outcome(1, 99, 1e9, status="diverged"))
    (row,) = table(runs)
    found = row.estimates["accuracy_all"]
    assert found.count == len(scores)
    assert found.mean == pytest.approx(sum(scores) / len(scores))
    error = stats.sem(scores)
    assert found.half_width == pytest.approx(
        stats.t.ppf(0.975, len(scores) - 1) * error, rel=1e-6, abs=1e-9
    )
    assert row.statuses == {"completed": len(scores), "diverged": 1}


def test_rows_follow_the_cells_and_a_shared_run_counts_once() -> None:
    rows = table([outcome(2, 0, 0.5), outcome(1, 0, 0.25), outcome(2, 0, 0.5), outcome(2, 1, None)])
    assert [(row.values["x"], row.seeds) for row in rows] == [(2, 2), (1, 1)]
    assert rows[0].estimates["accuracy_all"].count == 1
    assert rows[0].estimates["accuracy_all"].half_width is None
    assert "accuracy_own" not in rows[0].estimates


def test_the_best_is_by_mean_and_the_goal_follows_the_metric() -> None:
    rows = table([outcome(1, 0, 0.25), outcome(2, 0, 0.75), outcome(3, 0, None, status="running")])
    assert best(rows, "accuracy_all", default_goal("accuracy_all")) == rows[1]
    assert best(rows, "accuracy_all", "min") == rows[0]
    assert best(rows, "sent_bits", default_goal("sent_bits")) == rows[1]
    assert best(rows, "energy_j", "min") is None


def test_a_run_that_is_gone_is_counted_as_such() -> None:
    (row,) = table([outcome(1, 0, None, status=None, run_id=None)])
    assert row.statuses == {"deleted": 1}
