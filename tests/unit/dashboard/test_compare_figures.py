"""Comparisons: arms with intervals, the reference first, fronts, levels, coordinates."""

from typing import Any, cast

import numpy as np
import plotly.graph_objects as go
import pytest
from scipy import stats

from meshtune.backend.schemas.compare import AXES, COSTS, ComparedRun, Study
from meshtune.dashboard.api.client import ApiClient
from meshtune.dashboard.compare import (
    charts,
    fronts,
    tables,
)
from meshtune.dashboard.compare.arms import Arm, arms_of, common_tasks, present_tasks
from meshtune.dashboard.compare.calls import Seen, study
from meshtune.dashboard.look import theme
from meshtune.engine.records import RunStatus
from tests.support.fake_api import FakeApi, fake_config, served

METHODS = ("lora_gossip", "so_lora", "local")


def runs_of(api: FakeApi, **config: Any) -> list[ComparedRun]:
    """Three seeds of each method, six rounds each."""
    for kind in METHODS:
        for seed in (1, 2, 3):
            tree = fake_config(
                name=f"{kind} {seed}", seed=seed, rounds=6, method={"kind": kind}, **config
            )
            api.add(tree, fixed=RunStatus.COMPLETED, done=6)
    return seen_of(api).study.runs


def seen_of(api: FakeApi) -> Seen:
    with served(api) as url:
        client = ApiClient(url)
        seen = study(client, sorted(api.runs))
        client.close()
    return seen


@pytest.fixture(scope="module")
def runs() -> list[ComparedRun]:
    return runs_of(FakeApi())


@pytest.fixture
def arms(runs: list[ComparedRun]) -> list[Arm]:
    return arms_of(runs, None, together=True)


def trace(figure: go.Figure, name: str) -> Any:
    (found,) = [each for each in figure.data if each.name == name]
    return found


def lines(figure: go.Figure) -> list[Any]:
    return [each for each in figure.data if each.hoverinfo != "skip"]


def test_an_interval_is_that_of_student_over_seeds(
    runs: list[ComparedRun], arms: list[Arm]
) -> None:
    so_lora = next(arm for arm in arms if arm.method == "so_lora")
    band = so_lora.values("accuracy_all")
    finals = [each.curves.values["accuracy_all"][-1] for each in runs[3:6]]
    assert band.mean[-1] == pytest.approx(sum(map(float, finals)) / 3)  # type: ignore[arg-type]
    assert band.half is not None
    half = stats.t.ppf(0.975, 2) * stats.sem(cast(Any, finals))
    assert band.half[-1] == pytest.approx(half, rel=1e-6)
    assert so_lora.title == "Sparse-and-orthogonal LoRA (n = 3)"


def test_apart_every_run_is_a_line_without_an_interval(runs: list[ComparedRun]) -> None:
    arms = arms_of(runs, None, together=False)
    assert len(arms) == 9
    assert all(arm.values("accuracy_own").half is None for arm in arms)
    assert {arm.dash for arm in arms if arm.method == "so_lora"} == {"solid", "dash", "dot"}


def test_the_reference_is_plain_gossip_or_the_one_pinned(runs: list[ComparedRun]) -> None:
    assert arms_of(runs, None, together=True)[0].method == "lora_gossip"
    assert arms_of(runs, "nonsense", together=True)[0].method == "lora_gossip"
    assert arms_of(runs, "5", together=True)[0].method == "so_lora"  # by any of its runs
    first = arms_of(runs, runs[8].run.group, together=True)[0]
    assert (first.method, first.reference) == ("local", True)


def test_groups_of_one_method_are_named_by_what_differs() -> None:
    api = FakeApi()
    for density in (0.2, 0.5):
        for seed in (1, 2):
            method = {"kind": "so_lora", "density": density}
            tree = fake_config(seed=seed, rounds=6, method=method)
            api.add(tree, fixed=RunStatus.COMPLETED, done=6)
    arms = arms_of(seen_of(api).study.runs, None, together=True)
    assert [arm.label for arm in arms] == [
        "Sparse-and-orthogonal LoRA · density 0.2",
        "Sparse-and-orthogonal LoRA · density 0.5",
    ]


def test_every_chart_says_what_and_in_which_unit(arms: list[Arm]) -> None:
    for axis in AXES:
        figures = [
            *(charts.comparison(arms, c, axis, "dark") for c in charts.COMPARED),
            charts.task_comparison(arms, "reading", "own", axis, "light"),
            fronts.levels(arms, "accuracy_all", axis, 30, "light"),
        ]
        for figure in figures:
            assert figure.layout.title.text
            x = figure.layout.xaxis.title.text
            assert x == "Rounds finished" if axis == "round" else "(" in x
    for cost in COSTS:
        figure = fronts.pareto(arms, "accuracy_all", cost, "light")
        assert "(" in figure.layout.xaxis.title.text
        assert "(%)" in figure.layout.yaxis.title.text


def test_the_reference_is_drawn_first_and_grey_and_others_say_the_difference(
    arms: list[Arm],
) -> None:
    figure = charts.comparison(arms, "accuracy_own", "round", "light")
    first, second, _ = lines(figure)
    assert first.line.color == theme.MUTED.light
    assert all("pt" not in words for words in first.customdata)
    assert all("±" in words and words.endswith("\u00a0pt)") for words in second.customdata)
    values = second.y[-1] - first.y[-1]
    assert f"{values:+.1f}" in second.customdata[-1].replace("\u2212", "-")


def test_an_interval_is_drawn_around_its_mean(arms: list[Arm]) -> None:
    figure = charts.comparison(arms, "accuracy_all", "round", "light")
    shades = [each for each in figure.data if each.fill == "toself"]
    assert len(shades) == 3
    for shade, line in zip(shades, lines(figure), strict=True):
        count = len(line.y)
        for place, value in enumerate(line.y):
            high, low = shade.y[place], shade.y[2 * count - 1 - place]
            assert high + low == pytest.approx(2 * value, abs=0.05)


def test_losses_are_drawn_in_points(arms: list[Arm]) -> None:
    figure = charts.comparison(arms, "exchange_loss", "round", "light")
    assert "(pt)" in figure.layout.yaxis.title.text
    assert all("pt" in each.hovertemplate for each in lines(figure))
    assert max(lines(figure)[0].y) == pytest.approx(8.0, abs=0.1)  # as the stand-in has it


def test_an_arm_that_sends_nothing_is_a_level_on_cost_axes(arms: list[Arm]) -> None:
    for axis in ("total_bits", "total_airtime_s", "total_energy_j"):
        figure = charts.comparison(arms, "accuracy_own", axis, "light")
        silent = trace(figure, "Local only (n = 3) (sends nothing)")
        assert silent.y[0] == silent.y[1]
        assert silent.x[1] >= max(trace(figure, arms[0].title).x)


def test_a_missing_evaluation_is_a_gap(runs: list[ComparedRun]) -> None:
    curves = runs[0].curves
    kept = [0, 1, 2, 4, 5]

    def torn(values: list[Any]) -> list[Any]:
        return [values[place] for place in kept]

    holed = curves.model_copy(
        update={
            "round": torn(curves.round),
            "values": {name: torn(values) for name, values in curves.values.items()},
            "costs": {name: torn(values) for name, values in curves.costs.items()},
        }
    )
    run = runs[0].model_copy(update={"curves": holed})
    figure = charts.comparison(
        arms_of([run], None, together=True), "accuracy_own", "round", "light"
    )
    (line,) = lines(figure)
    assert list(line.y).count(None) == 1
    assert line.x[3] == pytest.approx(4.0)


def test_small_charts_keep_the_ends_and_few_points() -> None:
    places = charts._thinned(np.sin(np.arange(300.0)), 90)
    assert len(places) == 90
    assert (places[0], places[-1]) == (0, 299)


def test_the_front_is_what_nothing_beats(arms: list[Arm]) -> None:
    def outcome(cost: float, accuracy: float) -> fronts.Outcome:
        return fronts.Outcome(arms[0], cost, accuracy)

    cheap, good, worse, dear = (
        outcome(1, 0.3),
        outcome(2, 0.6),
        outcome(3, 0.5),
        outcome(4, 0.7),
    )
    assert fronts.front([dear, worse, good, cheap]) == [cheap, good, dear]
    assert fronts.front([outcome(1, 0.3), outcome(1, 0.4)])[0].accuracy == 0.4
    assert fronts.front([]) == []


def test_runs_that_never_arrive_count_as_later_than_all_others(arms: list[Arm]) -> None:
    reach = fronts.Reach
    assert reach(arms[0], (3.0, 5.0), 3).median == 5.0
    assert reach(arms[0], (3.0, 5.0), 4).median is None
    assert reach(arms[0], (3.0, 5.0), 2).median == 4.0
    assert reach(arms[0], (), 0).median is None
    assert reach(arms[0], (3.0,), 3).told == "1 of 3 reach it"
    assert reach(arms[0], (), 1).told == "not reached"
    figure = fronts.levels(arms, "accuracy_all", "round", 99, "light")
    said = [note.text for note in figure.layout.annotations]
    assert said == ["not reached"] * 3


def test_coordinates_are_the_shared_differing_fields_and_the_results(arms: list[Arm]) -> None:
    axes = fronts.coordinates(arms)
    assert [axis.title for axis in axes] == [
        "Method", "Own task", "All tasks", "Bits sent", "Airtime", "Transmit energy",
    ]  # fmt: skip
    assert all(h is None or 0 <= h <= 1 for axis in axes for h in axis.heights)
    figure = fronts.parallel(arms, "dark")
    assert len(figure.data) == 3
    numbers = fronts._field("training.learning_rate", [0.001, 0.1, 0.01])
    assert numbers.heights == pytest.approx((0.0, 1.0, 0.5))  # by ratios


def test_arms_without_rounds_are_empty_not_broken(runs: list[ComparedRun]) -> None:
    api = FakeApi()
    api.add(fake_config(rounds=6), fixed=RunStatus.QUEUED)
    (run,) = seen_of(api).study.runs
    waiting = [run.model_copy(update={"run": run.run.model_copy(update={"id": 99})})]
    arms = arms_of([*waiting, *runs], None, together=False)
    assert sum(not arm.drawn for arm in arms) == 1
    for axis in AXES:
        for column in charts.COMPARED:
            charts.comparison(arms, column, axis, "light")
        fronts.levels(arms, "accuracy_own", axis, 50, "light")
    alone = arms_of(waiting, None, together=True)
    fronts.pareto(alone, "accuracy_all", "total_bits", "light")
    assert tables.summary(alone).empty
    assert present_tasks(alone) == []
    assert common_tasks(arms)


def test_a_study_is_kept_while_nothing_changes() -> None:
    api = FakeApi()
    api.add(fake_config(rounds=6), fixed=RunStatus.COMPLETED, done=6)
    first = seen_of(api)
    assert isinstance(first.study, Study)
    assert first.asked == (1,)


def test_up_to_four_lines_are_named_at_their_ends_more_above_all_charts(
    runs: list[ComparedRun], arms: list[Arm]
) -> None:
    few = charts.comparison(arms, "accuracy_all", "round", "light")
    assert [note.text.rpartition("</span> ")[2] for note in few.layout.annotations] == [
        "Plain LoRA",
        "SO-LoRA",
        "Local only",
    ]
    many = arms_of(runs, None, together=False)
    for figure in (
        charts.comparison(many, "accuracy_all", "round", "light"),
        fronts.pareto(many, "accuracy_all", "total_bits", "light"),
    ):
        assert not figure.layout.annotations
        assert figure.layout.showlegend is False
