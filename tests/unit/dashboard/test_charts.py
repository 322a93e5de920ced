"""Figures have titles, units and gaps; the reference comes first."""

import math
from itertools import pairwise
from typing import Any, cast

import pandas as pd
import plotly.graph_objects as go
import pytest

from meshtune.dashboard.figures.curves import XAxis, _with_gaps, task_curves, total_curve
from meshtune.dashboard.figures.frames import TASK_COLUMNS, History
from meshtune.dashboard.figures.heat import score_heat_map
from meshtune.dashboard.figures.layout import _spread, step_up
from meshtune.dashboard.figures.links import LINKS_UP_TO, link_spread
from meshtune.dashboard.look import theme
from meshtune.dashboard.run.frames import score_frame
from meshtune.engine.config import RunConfig
from tests.support.fake_api import fake_config, fake_plan, fake_record

COSTS: tuple[XAxis, ...] = ("total_bits", "total_airtime_s", "total_energy_j")


def history_of(config: RunConfig, rounds: int) -> History:
    history = History()
    history.extend(fake_record(config, index) for index in range(rounds))
    return history


def tasks_of(config: RunConfig, rounds: int) -> pd.DataFrame:
    """Accuracy of every task after every round."""
    tasks = config.fleet.present_tasks()
    rows = [(each, task, 0.5, 0.4) for each in range(1, rounds + 1) for task in tasks]
    return pd.DataFrame(rows, columns=list(TASK_COLUMNS))


def axis_titles(figure: go.Figure) -> tuple[str, str]:
    return str(figure.layout.xaxis.title.text), str(figure.layout.yaxis.title.text)


def xs(figure: go.Figure, trace: int = 0) -> list[float]:
    return list(cast(Any, figure.data[trace]).x)


def test_every_chart_says_what_and_in_which_unit() -> None:
    config = fake_config(rounds=6)
    rounds, tasks = history_of(config, 4).round_frame(), tasks_of(config, 4)
    figures = [
        task_curves(tasks, "own", config),
        task_curves(tasks, "all", config),
        *(total_curve(rounds, cost, config, "light") for cost in COSTS),
    ]
    for figure in figures:
        assert figure.layout.title.text
        assert figure.layout.height in {theme.SMALL, theme.MEDIUM, theme.TALL, theme.LARGE}
        x, y = axis_titles(figure)
        assert x == "Rounds finished" or "(" in x
        assert "(" in y


def test_curves_count_finished_rounds_from_one() -> None:
    config = fake_config(rounds=6)
    figure = task_curves(tasks_of(config, 3), "own", config)
    assert xs(figure) == [1, 2, 3]
    assert figure.layout.xaxis.range[1] >= config.rounds


def test_a_task_keeps_its_colour_and_marker() -> None:
    config = fake_config(rounds=6)
    figure = task_curves(tasks_of(config, 3), "own", config)
    for trace, task in zip(figure.data, config.fleet.present_tasks(), strict=True):
        assert trace.line.color == theme.TASKS[task].color
        assert trace.marker.symbol == theme.plotly_symbol(task)


def test_up_to_four_lines_are_named_at_their_ends_more_in_a_legend() -> None:
    few = fake_config(rounds=6)
    many = fake_config(rounds=6, fleet={"devices": 8}, topology={"kind": "ring"})
    named = task_curves(tasks_of(few, 3), "own", few)
    listed = task_curves(tasks_of(many, 3), "own", many)
    assert len(named.layout.annotations) == 4
    assert named.layout.showlegend is False
    assert not listed.layout.annotations
    assert listed.layout.showlegend is not False


def test_names_at_line_ends_do_not_overlap() -> None:
    spread = _spread([(50.0, "a"), (50.0, "b"), (51.0, "c"), (99.0, "d")], 8.0)
    heights = sorted(height for height, _ in spread)
    assert all(b - a >= 8.0 - 1e-9 for a, b in pairwise(heights))
    assert max(heights) <= 100.0


def test_rounds_between_evaluations_are_no_gaps_but_lost_rounds_are() -> None:
    config = fake_config(rounds=9, evaluation={"every_rounds": 2, "samples_per_task": 8})
    frame = history_of(config, 9).round_frame()
    whole = _with_gaps(frame, "accuracy_own", 2)
    assert list(whole["round"]) == [2, 4, 6, 8, 9]
    torn = _with_gaps(frame[frame["round"] != 6], "accuracy_own", 2)
    assert [math.isnan(value) for value in torn["accuracy_own"]].count(True) == 1


def test_charts_of_runs_without_rounds_are_empty_not_broken() -> None:
    config = fake_config()
    task_curves(tasks_of(config, 0), "own", config)
    total_curve(History().round_frame(), "total_bits", config, "dark")
    score_heat_map(score_frame(None, config), config, "light")


def test_the_heat_map_outlines_every_own_task_and_leaves_gaps() -> None:
    config = fake_config(rounds=6)
    table = score_frame(fake_record(config, 1), config)
    table.iloc[0, 1] = float("nan")
    figure = score_heat_map(table, config, "dark")
    assert len(figure.layout.shapes) == 2 * config.fleet.devices  # a frame of two colours
    assert figure.data[0].z[0][1] is None


def test_a_long_run_draws_at_most_a_thousand_points_a_line() -> None:
    frame = history_of(fake_config(rounds=6), 1).round_frame()
    long = frame.loc[frame.index.repeat(8000)].reset_index(drop=True)
    long["round"] = range(1, 8001)
    figure = total_curve(long, "total_bits", fake_config(rounds=8000), "light")
    assert len(xs(figure)) <= 1004


@pytest.mark.parametrize(
    ("largest", "limit"), [(0.0, 1.0), (0.9, 1.0), (1.2, 1.5), (23, 30), (76, 100)]
)
def test_ranges_grow_in_steps(largest: float, limit: float) -> None:
    assert step_up(largest) == pytest.approx(limit)


def test_links_are_dots_by_distance_in_a_panel_per_quality() -> None:
    plan = fake_plan(fake_config())
    figure = link_spread(plan, "light")
    assert figure is not None
    assert [trace.name for trace in figure.data] == ["SNR (dB)", "Rate (Mbit/s)", "Lost (%)"]
    assert sorted(xs(figure)) == sorted(link.distance_m for link in plan.links)
    rates = cast(Any, figure.data[1]).y
    assert max(rates) == pytest.approx(
        max(link.mean_rate_bit_s or 0.0 for link in plan.links) / 1e6
    )
    assert plan.snr_db is not None
    band, median = figure.layout.shapes[:2]
    assert (band.y0, band.y1) == (plan.snr_db.low, plan.snr_db.high)
    assert median.y0 == median.y1 == plan.snr_db.median
    lost = [100 * (link.outage_prob or 0.0) for link in plan.links]
    low, high = figure.layout.yaxis3.range
    assert low == 0
    assert high >= max(1.0, *lost)  # not an axis of millionths where next to nothing is lost


def test_a_large_mesh_is_thinned_to_a_bounded_number_of_dots() -> None:
    plan = fake_plan(fake_config(fleet={"devices": 40}, topology={"kind": "full"}))
    figure = link_spread(plan, "dark")
    assert figure is not None
    assert len(plan.links) == 40 * 39
    assert LINKS_UP_TO / 2 < len(xs(figure)) <= LINKS_UP_TO


def test_links_without_a_payload_have_no_panel_of_losses_and_ideal_ones_no_chart() -> None:
    plan = fake_plan(fake_config())
    silent = link_spread(plan.model_copy(update={"outage_prob": None}), "light")
    assert silent is not None
    assert len(silent.data) == 2
    assert link_spread(fake_plan(fake_config(channel={"kind": "ideal"})), "light") is None
