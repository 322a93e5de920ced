"""What the view of sweeps is made of: names, values of a form, squares, table, chart."""

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from hypothesis import given, strategies as st

from meshtune.backend.schemas.runs import PresetOut
from meshtune.backend.schemas.sweeps import CellOut, EstimateOut, RowOut, SweepDetail
from meshtune.dashboard.look.format import MISSING
from meshtune.dashboard.sweeps import parts
from meshtune.engine.presets import load_preset, preset_names
from meshtune.engine.records import RunStatus
from meshtune.engine.sweep import SweepSpec, cells
from meshtune.engine.sweep_results import METRICS

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def estimate(mean: float, half_width: float | None = 0.1) -> EstimateOut:
    return EstimateOut(mean=mean, half_width=half_width, count=1 if half_width is None else 3)


def row(values: dict[str, Any], score: float | None) -> RowOut:
    metrics = {} if score is None else {m: estimate(score) for m in METRICS}
    return RowOut(values=values, seeds=1, statuses={"completed": 1}, metrics=metrics)


def detail(rows: list[RowOut], **values: Any) -> SweepDetail:
    fields = list(dict.fromkeys(field for each in rows for field in each.values))
    known: dict[str, Any] = {
        "id": 1,
        "name": "rates",
        "created_at": NOW,
        "stopped_at": None,
        "fields": fields,
        "cells": len(rows),
        "statuses": {"completed": len(rows)},
        "spec": SweepSpec(),
        "table": rows,
        "metric": "accuracy_all",
        "goal": "max",
        "best": rows[0] if rows else None,
        "states": [
            CellOut(
                position=n,
                values=each.values,
                seed=0,
                run_id=n + 1,
                status="completed",
                reused=False,
                rounds_done=2,
                rounds_total=2,
            )
            for n, each in enumerate(rows)
        ],
    }
    return SweepDetail(**known | values)


def test_every_status_of_a_run_has_a_square_of_its_own() -> None:
    assert {*map(str, RunStatus), "deleted"} == set(parts.SQUARES)
    signs = [look.sign for look in parts.SQUARES.values()]
    assert len(set(signs)) == len(signs)


@given(st.lists(st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)))
def test_values_of_a_line_are_read_as_they_are_written(values) -> None:
    line = ", ".join(str(v).lower() if isinstance(v, bool) else repr(v) for v in values)
    assert parts.listed_values(line) == values


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("local, so_lora", ["local", "so_lora"]),
        ('"a, b", c', ['"a', 'b"', "c"]),
        ("1, x, true", [1, "x", True]),
        ("1,,", [1]),
        (' [1, 2], ["a"] ', [[1, 2], ["a"]]),
        ("", []),
    ],
)
def test_what_is_no_value_of_toml_is_text(line: str, values: list[Any]) -> None:
    assert parts.listed_values(line) == values


@given(st.text())
def test_any_line_is_read(line: str) -> None:
    assert isinstance(parts.listed_values(line), list)


@pytest.mark.parametrize("name", preset_names()[:3])
def test_each_field_of_a_preset_can_be_varied_by_its_own_value(name: str) -> None:
    fields = parts.fields_of(PresetOut(**vars(load_preset(name))))
    assert "training.learning_rate" in fields
    assert not {"name", "seed"} & set(fields)
    for field, value in fields.items():
        (cell,) = cells(SweepSpec.model_validate({"preset": name, "axes": {field: [value]}}))
        whole = load_preset(name).config
        assert cell.config.model_copy(update={"name": whole.name}) == whole


def test_names_of_fields_are_short_where_that_is_clear() -> None:
    fields = ["training.batch_size", "method.density", "fleet.density", "method.kind"]
    assert list(parts.labels(fields).values()) == [
        "batch_size", "method.density", "fleet.density", "method.kind",
    ]  # fmt: skip


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1))
def test_nothing_of_a_value_is_read_as_markup(text: str) -> None:
    drawn = parts.cells_html(detail([row({"method.kind": text}, 0.5)]), "light")
    assert "<" not in re.sub(r"</?(div|table|thead|tbody|tr|th|td|a|span)\b[^<>]*>", "", drawn)
    assert f"kind {parts.value_text('method.kind', text)}, seed 0" in unescape(drawn)
    assert re.search(r"(?<!\\)[<*_`$\[]", parts.literal(text)) is None


def test_a_cell_without_a_run_leads_nowhere() -> None:
    sweep = detail([row({"rounds": 1}, None)])
    gone = sweep.states[0].model_copy(update={"run_id": None, "status": "deleted"})
    assert "href" not in parts.square_html(gone, "dark")
    assert 'href="run?run=1"' in parts.square_html(sweep.states[0], "dark")


def test_the_table_marks_the_best_and_leaves_gaps_where_nothing_is_known() -> None:
    rows = [row({"rounds": 1}, 0.5), row({"rounds": 2}, None), row({"method.kind": "local"}, 0.25)]
    frame = parts.table_frame(detail(rows))
    assert list(frame["Best"]) == ["★", "", ""]
    assert list(frame["rounds"]) == ["1", "2", MISSING]
    assert [text.replace("\u00a0", " ") for text in frame["All tasks"]] == [
        "50.0 ± 10.0 %", MISSING, "25.0 ± 10.0 %",
    ]  # fmt: skip


def test_the_interval_of_a_single_run_is_not_shown() -> None:
    text = parts.estimate_text("accuracy_own", estimate(0.5, None))
    assert text.replace("\u00a0", " ") == "50.0 %"
    text = parts.estimate_text("sent_bits", estimate(2e6, 1e5))
    assert text.replace("\u00a0", " ") == "2.00 ± 0.10 Mbit"


def test_runs_to_compare_are_one_per_combination_best_first() -> None:
    rows = [row({"rounds": n}, n / 20) for n in range(1, 13)]
    assert parts.to_compare(detail(rows)) == [12, 11, 10, 9, 8, 7, 6, 5]
    assert parts.to_compare(detail(rows, goal="min"))[:2] == [1, 2]


def test_the_chart_has_a_line_per_second_value_and_intervals() -> None:
    rows = [
        row({"training.learning_rate": rate, "method.kind": kind}, rate)
        for rate in (0.1, 0.001, 0.01)
        for kind in ("local", "lora_gossip")
    ]
    figure = parts.metric_chart(detail(rows), "light")
    assert figure is not None
    assert [trace.name for trace in figure.data] == ["Local only", "Plain LoRA gossip"]
    assert list(figure.data[0].x) == [0.001, 0.01, 0.1]
    assert list(figure.data[0].y) == pytest.approx([0.1, 1.0, 10.0])
    assert list(figure.data[0].error_y.array) == pytest.approx([10.0] * 3)
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.title.text == "training.learning_rate"
    assert figure.layout.yaxis.title.text == "Accuracy over all tasks (%)"


@pytest.mark.parametrize(
    ("values", "kind"), [([1, 2], "linear"), ([0, 100], "linear"), (["a", 1], "category")]
)
def test_the_axis_suits_the_values(values: list[Any], kind: str) -> None:
    figure = parts.metric_chart(detail([row({"x": v}, 0.5) for v in values]), "dark")
    assert figure is not None
    assert figure.layout.xaxis.type == kind
    assert not figure.layout.showlegend


def test_without_axes_or_results_there_is_no_chart() -> None:
    assert parts.metric_chart(detail([row({}, 0.5)]), "light") is None
    assert parts.metric_chart(detail([row({"rounds": 1}, None)]), "light") is None


def test_costs_are_drawn_in_a_handy_unit() -> None:
    sweep = detail([row({"rounds": n}, 2e6 * n) for n in (1, 2)], metric="sent_bits")
    figure = parts.metric_chart(sweep, "light")
    assert figure is not None
    assert figure.layout.yaxis.title.text == "Bits sent (Mbit)"
    assert list(figure.data[0].y) == [2.0, 4.0]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0.001 .. 0.1", {"from": 0.001, "to": 0.1, "scale": "log", "whole": False}),
        ("0.1..0.5 in 3", {"from": 0.1, "to": 0.5, "scale": "linear", "whole": False, "steps": 3}),
        ("2 .. 64", {"from": 2.0, "to": 64.0, "scale": "log", "whole": True}),
        ("-10 .. 10", {"from": -10.0, "to": 10.0, "scale": "linear", "whole": True}),
    ],
)
def test_two_numbers_with_dots_between_are_a_range(text: str, span: dict[str, object]) -> None:
    assert parts.axis_values(text) == span


@pytest.mark.parametrize("text", ["a .. b", "1, 2", "../x", "1 ..", "0.1 .. nan in"])
def test_other_text_is_a_list_of_values(text: str) -> None:
    assert parts.axis_values(text) == parts.listed_values(text)
