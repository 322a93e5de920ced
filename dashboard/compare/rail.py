"""The left rail of the comparison: which runs and groups, filters, the pinned reference.

Every choice is kept in the address, so that a link restores the whole view.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from meshtune.backend.schemas.compare import Candidate
from meshtune.dashboard import address
from meshtune.dashboard.api.client import api
from meshtune.dashboard.compare import calls
from meshtune.dashboard.compare.arms import Arm
from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine.records import RunStatus

LISTED = 500
COMPARED_MOST = 50  # runs in one comparison, as the API has it


@dataclass(frozen=True)
class Choice:
    """What is compared: runs, and whether the seeds of a group are one line."""

    run_ids: tuple[int, ...]
    together: bool


def candidates() -> dict[int, Candidate]:
    """Runs that can be chosen, newest first, and those that the address names.

    Raises:
        ApiProblem: one of these is not there.
    """
    listed = {run.id: run for run in calls.candidates(api(), LISTED).runs}
    missing = [number for number in wanted_runs() if number not in listed]
    if missing:
        study = calls.study(api(), missing[:COMPARED_MOST]).study
        listed |= {each.run.id: each.run for each in study.runs}
    return listed


def wanted_runs() -> list[int]:
    """Run numbers of the address."""
    return _numbers(address.asked("runs"))


def _numbers(text: str) -> list[int]:
    parts = map(address.whole_number, map(str.strip, text.split(",")))
    return [number for number in parts if number is not None]


def seed_groups(listed: Mapping[int, Candidate]) -> dict[str, list[Candidate]]:
    """Groups of at least two runs, by hash; in each the oldest run first."""
    groups: dict[str, list[Candidate]] = {}
    for run in sorted(listed.values(), key=lambda each: each.id):
        groups.setdefault(run.group, []).append(run)
    return {group: runs for group, runs in groups.items() if len(runs) > 1}


def choose(listed: dict[int, Candidate]) -> Choice:
    """Filters, groups and runs; the groups of the address grow with new seeds."""
    groups = seed_groups(listed)
    with st.expander("Filter", icon=":material/filter_list:"):
        keeps = filters(listed)
    picked_groups = pick_groups(groups, keeps)
    picked_runs = pick_runs(listed, keeps)
    numbers = [run.id for group in picked_groups for run in groups[group]]
    run_ids = tuple(dict.fromkeys([*numbers, *picked_runs]))
    if len(run_ids) > COMPARED_MOST:
        st.warning(
            f"{len(run_ids)} runs are chosen; the first {COMPARED_MOST} are compared.",
            icon=":material/warning:",
        )
    folds = len({listed[number].group for number in run_ids}) < len(run_ids)
    address.follow("compare-together", "seeds", lambda given: given != "apart")
    together = st.toggle(
        "Seeds as one line",
        disabled=not folds,
        key="compare-together",
        help="Runs that differ in seed and name only are drawn as their mean with its 95 % "
        "interval (Student's t over seeds). Off: every run is a line.",
    )
    address.keep("compare-together", "seeds", together, "" if together else "apart")
    return Choice(run_ids[:COMPARED_MOST], together)


Keeps = Callable[[Candidate], bool]


def filters(listed: dict[int, Candidate]) -> Keeps:
    """What the lists below are narrowed to; chosen runs stay."""
    words = st.text_input("Text", key="compare-text", placeholder="Name or note").lower().strip()
    methods: list[str] = st.multiselect(
        "Method",
        list(dict.fromkeys(run.method for run in listed.values())),
        format_func=lambda kind: theme.method_look(kind).title,
        key="compare-methods",
        placeholder="All methods",
    )
    states: list[RunStatus] = st.multiselect(
        "Status",
        list(dict.fromkeys(run.status for run in listed.values())),
        format_func=lambda status: theme.STATUSES[status].title,
        key="compare-states",
        placeholder="All states",
    )

    def keeps(run: Candidate) -> bool:
        said = f"{run.name} {run.note or ''} {run.id}".lower()
        return (
            words in said
            and (not methods or run.method in methods)
            and (not states or run.status in states)
        )

    return keeps


def pick_groups(groups: dict[str, list[Candidate]], keeps: Keeps) -> list[str]:
    """Groups of seeds; kept in the address."""
    asked = [part for part in address.asked("groups").split(",") if part]
    address.follow(
        "compare-groups",
        "groups",
        lambda given: [group for group in given.split(",") if group in groups],
    )
    if lost := [group for group in asked if group not in groups]:
        st.warning(
            f"{fmt.count(len(lost), 'group')} of this link is not here (any more).",
            icon=":material/warning:",
        )
    chosen: list[str] = st.session_state["compare-groups"]
    options = [group for group, runs in groups.items() if group in chosen or any(map(keeps, runs))]
    picked: list[str] = st.multiselect(
        "Groups of seeds",
        options,
        format_func=lambda group: group_label(groups[group]),
        placeholder="Choose groups" if groups else "No two runs differ in the seed only",
        key="compare-groups",
        disabled=not groups,
        help="Runs whose configs differ in seed and name only. A link to a group shows seeds "
        "that are run later, too.",
    )
    address.keep("compare-groups", "groups", picked, ",".join(picked))
    return picked


def pick_runs(listed: dict[int, Candidate], keeps: Keeps) -> list[int]:
    """Single runs; kept in the address."""
    parts = map(str.strip, address.asked("runs").split(","))
    if odd := [part for part in parts if part and address.whole_number(part) is None]:
        st.warning(f"No run numbers: {', '.join(odd)[:60]}.", icon=":material/warning:")
    address.follow(
        "compare-runs",
        "runs",
        lambda given: [number for number in dict.fromkeys(_numbers(given)) if number in listed],
    )
    chosen: list[int] = st.session_state["compare-runs"]
    options = [number for number, run in listed.items() if number in chosen or keeps(run)]
    picked: list[int] = st.multiselect(
        "Runs",
        options,
        format_func=lambda number: run_label(listed[number]),
        placeholder="Choose runs",
        key="compare-runs",
    )
    address.keep("compare-runs", "runs", picked, ",".join(map(str, picked)))
    return picked


def run_label(run: Candidate) -> str:
    """What lists call a run: name, number, seed, and its state while it has not completed."""
    state = "" if run.status is RunStatus.COMPLETED else f" · {run.status}"
    return f"{run.name} · run {run.id} · seed {run.seed}{state}"


def group_label(runs: Sequence[Candidate]) -> str:
    """What lists call a group: method, name of its first run, number of seeds."""
    title = theme.method_look(runs[0].method).title
    seeds = len({run.seed for run in runs})
    return f"{title} · {runs[0].name} · {fmt.count(seeds, 'seed')}"


def pin_reference(arms: Sequence[Arm]) -> str:
    """The arm that differences are against: plain LoRA gossip where there is one."""
    keys = [arm.key for arm in arms]
    titles = {arm.key: arm.title for arm in arms}
    start = next((arm.key for arm in arms if arm.reference), keys[0])
    key = f"compare-reference-{'-'.join(sorted(keys))}"[:200]
    address.follow(key, "ref", lambda _: start)
    chosen: Any = st.selectbox(
        "Reference",
        keys,
        format_func=titles.__getitem__,
        help="Differences, in points and percent, and the paired tests are against this one. "
        "It is drawn first.",
        key=key,
    )
    address.keep(key, "ref", chosen, str(chosen))
    return str(chosen)
