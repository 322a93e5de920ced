"""A comparison as one HTML file that needs no network: charts that hover, tables, provenance.

`python -m meshtune.dashboard.compare.report` makes it from a `ReportInput` on its standard
input; that is how the API and `meshtune export --format html` get one.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from meshtune.backend.schemas.compare import ComparedRun, Cost, Paired, ReportInput, Shown
from meshtune.dashboard.compare import (
    charts,
    fronts,
    tables,
)
from meshtune.dashboard.compare.arms import Arm, arms_of, common_tasks, present_tasks
from meshtune.dashboard.figures.html_table import html_table
from meshtune.dashboard.look import format as fmt, theme

STATIC = Path(__file__).parents[1] / "static"
# Nothing may be fetched, whatever the names of runs contain.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
MODES: tuple[theme.Mode, ...] = ("light", "dark")


def page(arms: Sequence[Arm], paired: Paired, shown: Shown) -> str:
    """The whole report.

    Args:
        arms: the lines, the reference first.
        paired: groups and tests against the reference.
        shown: axis, accuracy, level and tasks as on the screen.
    """
    drawn = [arm for arm in arms if arm.drawn]
    sections = "".join(_sections(drawn, paired, shown))
    runs = [each for arm in arms for each in arm.members]
    figures = {mode: _figures(drawn, shown, mode) for mode in MODES}
    data = json.dumps(figures, separators=(",", ":"))
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(_title(drawn))}</title>"
        f"<style>{_static('report.css')}{_colors()}</style></head><body>"
        f"<main><h1>{escape(_title(drawn))}</h1>{_lead(arms)}{_legend(drawn)}"
        f"{sections}{_provenance(runs)}</main>"
        f'<script type="application/json" id="figures">{_script(data)}</script>'
        f"<script>{_plotly()}</script><script>{_static('report.js')}</script>"
        "</body></html>\n"
    )


def _title(arms: Sequence[Arm]) -> str:
    names = " and ".join(arm.label for arm in arms) if len(arms) <= 2 else f"{len(arms)} arms"
    return f"Comparison of {names}" if arms else "Comparison"


def _lead(arms: Sequence[Arm]) -> str:
    runs = sum(len(arm.members) for arm in arms)
    reference = next((arm.title for arm in arms if arm.reference), fmt.MISSING)
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    told = [
        f"{fmt.count(runs, 'run')}, reference {escape(reference)}. "
        f"Made by Meshtune {version('meshtune')} on {when}. "
        "This file needs no network; charts can be zoomed, and hovering shows the numbers."
    ]
    if not common_tasks(arms):
        told.append(
            "These runs do not hold the same tasks, so accuracy over all tasks is not the same "
            "quantity for all of them."
        )
    return "".join(f"<p>{line}</p>" for line in told)


def _sections(arms: Sequence[Arm], paired: Paired, shown: Shown) -> Iterable[str]:
    yield _section("Accuracy", _charts("accuracy_own", "accuracy_all"))
    yield _table(tables.summary(arms), "Results", tables.SUMMARY_HELP)
    yield _section("Accuracy and what it costs", _charts("pareto", "levels"))
    yield _table(tables.levels(arms, shown.metric, shown.level), "What the level takes")
    names = [f"task-{task}" for task in _tasks(arms, shown)]
    who = "of all devices" if shown.who == "all" else "of the devices that hold the task"
    small = _charts(*names, "exchange_loss", "forgetting", small=True)
    yield _section("Every task on its own, and forgetting", f"<p>Accuracy {who}.</p>{small}")
    yield _tests(arms, paired, shown)
    differing = tables.config_differences(arms)
    chart = _charts("parallel") if len(arms) > 1 else ""
    equal = "<p>Nothing but name and seed: these runs have equal configs.</p>"
    table = _table(differing, "Config differences") if len(differing) else equal
    yield _section("What differs in the configs", chart + table)


def _tests(arms: Sequence[Arm], paired: Paired, shown: Shown) -> str:
    titles: dict[str, str] = {}
    for arm in arms:
        titles.setdefault(arm.members[0].run.group, arm.label)
    frame = tables.tests(paired, titles, shown.metric)
    if frame.empty:
        return ""
    told = (
        f"Paired by seed: {charts.METRICS[shown.metric].lower()} at the end of completed "
        f"runs, minus {escape(titles.get(paired.reference, 'the reference'))}. p values are "
        "corrected by Holm for the rows of this table."
    )
    table = _table(frame, "Paired tests", tables.TESTS_HELP)
    return _section("Is the difference more than luck?", f"<p>{told}</p>{table}")


def _provenance(runs: Sequence[ComparedRun]) -> str:
    configs = "".join(
        f"<details><summary>Config of {escape(each.run.name)} #{each.run.id}, "
        f"SHA-256 {each.config_sha256}</summary>"
        f"<pre>{escape(json.dumps(each.config, indent=2, sort_keys=True))}</pre></details>"
        for each in runs
    )
    table = _table(tables.provenance(runs), "Seeds, versions and commits")
    return _section("Seeds, versions, configs", table + configs)


# Figures


def _tasks(arms: Sequence[Arm], shown: Shown) -> list[Any]:
    present = present_tasks(arms)
    return [task for task in present if task in shown.tasks] or present


def _figures(arms: Sequence[Arm], shown: Shown, mode: theme.Mode) -> dict[str, Any]:
    axis = shown.axis
    cost: Cost = "total_bits" if axis == "round" else axis
    figures: dict[str, go.Figure] = {
        column: charts.comparison(arms, column, axis, mode) for column in charts.METRICS
    }
    for column in charts.LOSSES:
        figures[column] = charts.comparison(arms, column, axis, mode, small=True)
    for task in _tasks(arms, shown):
        figures[f"task-{task}"] = charts.task_comparison(arms, task, shown.who, axis, mode)
    figures["pareto"] = fronts.pareto(arms, shown.metric, cost, mode)
    figures["levels"] = fronts.levels(arms, shown.metric, axis, shown.level, mode)
    if len(arms) > 1:
        figures["parallel"] = fronts.parallel(arms, mode)
    return {name: _payload(figure) for name, figure in figures.items()}


def _payload(figure: go.Figure) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(str(figure.to_json()))
    tree["layout"].pop("template", None)
    return tree


# HTML


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>{body}"


def _charts(*names: str, small: bool = False) -> str:
    places = "".join(f'<div class="chart" data-figure="{escape(name)}"></div>' for name in names)
    return f'<div class="charts{" small" if small else ""}">{places}</div>'


def _table(frame: pd.DataFrame, caption: str, helps: Mapping[str, str] | None = None) -> str:
    told = "".join(
        f"<li><b>{escape(name)}</b>: {escape(text)}</li>" for name, text in (helps or {}).items()
    )
    how = f"<details><summary>How these numbers are computed</summary><ul>{told}</ul></details>"
    return html_table(frame, caption, helps) + (how if told else "")


def _legend(arms: Sequence[Arm]) -> str:
    styles = {"solid": "solid", "dot": "dotted"}
    items = []
    for arm in arms:
        tint = theme.method_look(arm.method).tint
        style = (
            f"--light:{tint.light};--dark:{tint.dark};"
            f"border-top-style:{styles.get(arm.dash, 'dashed')}"
        )
        note = " (reference)" if arm.reference else ""
        items.append(f'<span><i style="{style}"></i>{escape(arm.title)}{note}</span>')
    return f'<p class="legend">{"".join(items)}</p>'


def _colors() -> str:
    names = {
        "text": theme.TEXT,
        "muted": theme.MUTED,
        "paper": theme.PAPER,
        "panel": theme.PANEL,
        "line": theme.HAIRLINE,
        "accent": theme.ACCENT,
    }
    light = "".join(f"--{name}:{tint.light};" for name, tint in names.items())
    dark = "".join(f"--{name}:{tint.dark};" for name, tint in names.items())
    return (
        f":root{{{light}}}.legend i{{border-color:var(--light)}}"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}"
        ".legend i{border-color:var(--dark)}}"
    )


def _script(text: str) -> str:
    """Text that cannot end the script element it stands in."""
    return text.replace("<", "\\u003c")


def _plotly() -> str:
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _static(name: str) -> str:
    return (STATIC / name).read_text("utf-8")


def main() -> None:
    """A report from standard input to standard output."""
    given = ReportInput.model_validate_json(sys.stdin.buffer.read())
    arms = arms_of(given.study.runs, given.paired.reference, together=given.shown.together)
    sys.stdout.buffer.write(page(arms, given.paired, given.shown).encode())


if __name__ == "__main__":
    main()
