"""What is compared: single runs, or groups of seeds with their mean and interval. Pure."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meshtune.backend.schemas.compare import (
    Accuracy,
    Axis,
    ComparedRun,
    Cost,
    RunCurves,
    Who,
)
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.look.words import word
from meshtune.engine.config import TaskName, in_order
from meshtune.engine.methods.kind import Dash
from meshtune.engine.methods.registry import REFERENCE
from meshtune.engine.naming import flat
from meshtune.engine.records import RunStatus
from meshtune.engine.reproduce.statistics import t_quantile

Column = Literal["accuracy_own", "accuracy_all", "forgetting", "exchange_loss"]
Values = NDArray[np.float64]

# Ended before their last round; a mean over seeds leaves them out and says so.
BROKEN = (RunStatus.DIVERGED, RunStatus.FAILED, RunStatus.CANCELLED)
NAME_SHORT = 16  # characters of a run's name at the end of its line
NAMED_FIELDS = 2  # differing config fields in the name of a group
NOT_COMPARED = ("name", "seed", "schema_version")


@dataclass(frozen=True)
class Band:
    """A quantity over the points of an arm: mean over seeds, and half of its 95 % interval."""

    mean: Values
    half: Values | None  # None for a single seed

    def last(self) -> tuple[float | None, float | None]:
        """The last mean that is known, and half of its interval."""
        known = np.flatnonzero(np.isfinite(self.mean))
        if not len(known):
            return None, None
        place = known[-1]
        half = None if self.half is None else float(self.half[place])
        return float(self.mean[place]), half


@dataclass(frozen=True)
class Arm:
    """One line of the comparison: a run, or the completed and running seeds of a group."""

    key: str  # of the address: a run's number, or a group's hash
    label: str
    method: str
    members: tuple[ComparedRun, ...]  # all of its runs
    drawn: tuple[ComparedRun, ...]  # those behind its curves
    round: tuple[int, ...]  # finished rounds at each point
    every_rounds: int  # between two points
    dash: Dash
    reference: bool = False

    @property
    def title(self) -> str:
        """Label with the number of seeds, and how many of them are not in the mean."""
        if len(self.members) == 1:
            state = self.members[0].run.status
            return f"{self.label}, {state}" if state in BROKEN else self.label
        missing = len(self.members) - len(self.drawn)
        note = f", {missing} left out" if missing else ""
        return f"{self.label} (n = {len(self.drawn)}{note})"

    @property
    def short(self) -> str:
        """A label for the end of a line, where the title would take the place of the chart."""
        if len(self.members) == 1:
            name = self.members[0].run.name
            cut = name if len(name) <= NAME_SHORT else f"{name[: NAME_SHORT - 1]}…"
            return f"{cut} #{self.lead}"
        look = theme.method_look(self.method)
        return self.label.replace(look.title, look.short, 1)

    @property
    def rounds_total(self) -> int:
        """Rounds of its config."""
        return max(each.run.rounds_total for each in self.members)

    @property
    def lead(self) -> int:
        """Number of its first run."""
        return self.members[0].run.id

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """Tasks that its devices hold, in the order of the catalogue."""
        return in_order(task for each in self.drawn for task in each.curves.tasks)

    def values(self, column: Column) -> Band:
        """Accuracies and losses at each point: shares."""
        return self._band(lambda curves: curves.values[column])

    def task(self, task: TaskName, who: Who) -> Band:
        """Accuracy on a task at each point, of its own devices or of all."""

        def curve(curves: RunCurves) -> Sequence[float | None]:
            found = curves.tasks.get(task)
            if found is None:
                return [None] * len(curves.round)
            return found.own if who == "own" else found.all

        return self._band(curve)

    def along(self, axis: Axis) -> Values:
        """Where each point lies on a horizontal axis: rounds, or the mean cost of the seeds."""
        if axis == "round":
            return np.array(self.round, dtype=np.float64)
        return self._band(lambda curves: curves.costs[axis]).mean

    def totals(self, cost: Cost) -> list[float]:
        """Cost of each of its drawn runs so far."""
        return [each.curves.totals[cost] for each in self.drawn]

    def finals(self, metric: Accuracy) -> list[float | None]:
        """Last accuracy of each of its drawn runs."""
        return [getattr(each.run, metric) for each in self.drawn]

    def reached(self, metric: Accuracy, axis: Axis, level: int) -> list[float | None]:
        """Where each of its runs first reaches `level` percent, diverged ones included."""
        return [each.curves.reached(metric, axis, level) for each in self.members]

    def _band(self, curve: Callable[[RunCurves], Sequence[float | None]]) -> Band:
        rows = []
        for each in self.drawn:
            found = dict(zip(each.curves.round, curve(each.curves), strict=True))
            rows.append([found.get(number) for number in self.round])
        table = np.array(rows, dtype=np.float64).reshape(len(self.drawn), len(self.round))
        count = len(self.drawn)
        mean = table.mean(axis=0) if count else np.empty(0)
        if count < 2:
            return Band(mean, None)
        return Band(mean, t_of(count) * table.std(axis=0, ddof=1) / np.sqrt(count))


@functools.cache
def t_of(count: int) -> float:
    """Student's t of a 95 % interval over so many seeds."""
    return t_quantile(count - 1)


def arms_of(study: Sequence[ComparedRun], reference: str | None, *, together: bool) -> list[Arm]:
    """The lines of a comparison, the reference first.

    Args:
        study: the runs, in the order chosen.
        reference: key of an arm, or number of any run in it; plain LoRA gossip if it is none.
        together: whether the seeds of a group are one line.
    """
    members: dict[str, list[ComparedRun]] = {}
    for each in study:
        members.setdefault(each.run.group if together else str(each.run.id), []).append(each)
    labels = _labels(list(members.values()))
    used: dict[str, int] = {}
    arms = []
    for (group, of_arm), label in zip(members.items(), labels, strict=True):
        key = group if len(of_arm) > 1 else str(of_arm[0].run.id)
        method = of_arm[0].run.method
        repeat = used.get(method, 0)
        used[method] = repeat + 1
        plain = theme.method_look(method).dash
        dash = theme.REPEAT_DASHES[repeat % len(theme.REPEAT_DASHES)] if repeat else plain
        arms.append(_arm(key, label, of_arm, dash))
    first = reference_of(arms, reference)
    marked = [replace(arm, reference=arm.key == first) for arm in arms]
    return sorted(marked, key=lambda arm: not arm.reference)


def reference_of(arms: Sequence[Arm], wanted: str | None) -> str | None:
    """Key of the reference: the one wanted, else plain LoRA gossip, else the first."""
    for arm in arms:
        if wanted is not None and wanted in {arm.key, *(str(each.run.id) for each in arm.members)}:
            return arm.key
    plain = [arm for arm in arms if arm.method == REFERENCE]
    return next((arm.key for arm in [*plain, *arms]), None)


def _arm(key: str, label: str, members: Sequence[ComparedRun], dash: Dash) -> Arm:
    begun = [each for each in members if each.curves.round]
    whole = [each for each in begun if each.run.status not in BROKEN]
    drawn = tuple(whole or begun)
    # A mean over fewer seeds than before would jump, so it ends where the first of them ends.
    common = set(drawn[0].curves.round) if drawn else set()
    for each in drawn[1:]:
        common &= set(each.curves.round)
    return Arm(
        key=key,
        label=label,
        method=members[0].run.method,
        members=tuple(members),
        drawn=drawn,
        round=tuple(sorted(common)),
        every_rounds=max((each.curves.every_rounds for each in drawn), default=1),
        dash=dash,
    )


def _labels(arms: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """Runs by name and number; groups by method and, where that is not enough, what differs."""
    groups = [members for members in arms if len(members) > 1]
    differing = differing_fields([members[0].config for members in groups])
    shared = [name for name in differing if not name.startswith("method.kind")]
    titles = [theme.method_look(members[0].run.method).title for members in groups]
    labels = []
    for members in arms:
        if len(members) == 1:
            labels.append(f"{members[0].run.name} #{members[0].run.id}")
            continue
        title = theme.method_look(members[0].run.method).title
        labels.append(
            title if titles.count(title) == 1 else _told_apart(title, members[0].config, shared)
        )
    return labels


def _told_apart(title: str, config: Mapping[str, Any], fields: Sequence[str]) -> str:
    tree = flat(config)
    named = [name for name in fields if tree.get(name) is not None][:NAMED_FIELDS]
    values = [f"{name.rpartition('.')[2].replace('_', ' ')} {shown(tree[name])}" for name in named]
    return " · ".join([title, *values])


def shown(value: object) -> str:
    """A config value in the words of the screen."""
    return word(value) if isinstance(value, str) else fmt.plain(value)


def differing_fields(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Dotted config fields in which these differ, seed and name aside, in the order of a config."""
    trees = [flat(config) for config in configs]
    names = list(dict.fromkeys(name for tree in trees for name in tree))
    return [
        name
        for name in names
        if name not in NOT_COMPARED and len({repr(tree.get(name)) for tree in trees}) > 1
    ]


def common_tasks(arms: Sequence[Arm]) -> bool:
    """Whether all arms hold the same tasks, so that accuracy over all means the same."""
    return len({arm.tasks for arm in arms if arm.drawn}) <= 1


def present_tasks(arms: Sequence[Arm]) -> list[TaskName]:
    """Tasks that any arm holds, in the order of the catalogue."""
    return list(in_order(task for arm in arms for task in arm.tasks))


def largest_cost(arms: Sequence[Arm], cost: Cost) -> float:
    """The largest cost that any arm has come to."""
    return max((value for arm in arms for value in arm.totals(cost)), default=0.0)
