"""What a run came to, in words: rules over its curves. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from meshtune.backend.schemas.compare import RunCurves
from meshtune.dashboard.look import format as fmt
from meshtune.dashboard.look.words import word
from meshtune.dashboard.run.tabs import Tab
from meshtune.engine.config import RunConfig

LEARNED, STUCK = 0.8, 0.2  # own accuracy of a task that is learned, and of one that is not
JUMP, FORGOTTEN, LOST = 0.1, 0.05, 0.05  # from here on worth a word
JUMPS_NAMED = 3
ROUNDING = 1e-9


@dataclass(frozen=True)
class Finding:
    """A sentence, and where it can be seen."""

    text: str
    tab: Tab
    round: int  # counted from 1


def findings(
    curves: RunCurves, rounds: pd.DataFrame, config: RunConfig, *, ended: bool
) -> list[Finding]:
    """What can be said of the rounds so far; nothing before the first evaluation.

    Args:
        curves: of the run.
        rounds: one row per round, as `History.round_frame` gives them.
        config: of the run.
        ended: whether no more rounds will come.
    """
    return [
        *_learned(curves, ended=ended),
        *(_stuck(curves) if ended else ()),
        *_jumps(curves, config),
        *_forgotten(curves),
        *_lost(rounds),
    ]


def _learned(curves: RunCurves, *, ended: bool) -> Iterator[Finding]:
    """How many tasks their own devices have learned."""
    last = [found[-1] for task in curves.tasks if (found := _known(curves, task))]
    if last:
        count = sum(accuracy >= LEARNED - ROUNDING for _, accuracy in last)
        so_far = "" if ended else " so far"
        text = f"{count} of {fmt.count(len(last), 'task')} learned{so_far}"
        yield Finding(text, "tasks", max(finished for finished, _ in last))


def _stuck(curves: RunCurves) -> Iterator[Finding]:
    """Tasks that even their own devices do not master at the end."""
    for task in curves.tasks:
        known = _known(curves, task)
        if known and known[-1][1] < STUCK:
            finished, accuracy = known[-1]
            stayed = max(other for _, other in known) < STUCK
            did = "stayed at" if stayed else "fell to"
            yield Finding(f"{word(task)} {did} {fmt.percent(accuracy, 0)}", "tasks", finished)


def _jumps(curves: RunCurves, config: RunConfig) -> Iterator[Finding]:
    """Rounds in which accuracy on all tasks rose by much."""
    known = _points(curves.round, curves.values["accuracy_all"])
    steps = [(new - old, at) for (_, old), (at, new) in pairwise(known)]
    large = sorted((step for step in steps if step[0] >= JUMP - ROUNDING), reverse=True)
    if not large:
        return
    places = sorted(at for _, at in large[:JUMPS_NAMED])
    by = f" by {fmt.points(large[0][0])}" if len(places) == 1 else ""
    text = f"All tasks jumped{by} at {_listed(places)}{_exchanged(places, config)}"
    yield Finding(text, "tasks", large[0][1])


def _exchanged(places: list[int], config: RunConfig) -> str:
    """Whether experts were published in each of these rounds, and not in every round anyway."""
    every = getattr(config.method, "library_every", 1)
    due = all(place % every == 0 or place == config.rounds for place in places)
    return ", when experts were exchanged" if every > 1 and due else ""


def _forgotten(curves: RunCurves) -> Iterator[Finding]:
    """How far the own task is below its best."""
    known = _points(curves.round, curves.values["forgetting"])
    if known and known[-1][1] > FORGOTTEN + ROUNDING:
        finished, share = known[-1]
        yield Finding(f"{_plain_points(share)} of the own task forgotten", "tasks", finished)


def _lost(rounds: pd.DataFrame) -> Iterator[Finding]:
    """Messages that did not arrive; the round of most of them is shown."""
    sent = rounds.dropna(subset=["delivered_fraction"])
    gone = [1 - float(share) for share in sent["delivered_fraction"]]
    if gone and (share := sum(gone) / len(gone)) > LOST + ROUNDING:
        worst = int(sent["round"].iloc[gone.index(max(gone))])
        yield Finding(f"{fmt.percent(share, 0)} of the messages were lost", "watch", worst)


def _known(curves: RunCurves, task: str) -> list[tuple[int, float]]:
    """The task's own accuracy in the rounds that were evaluated."""
    return _points(curves.round, curves.tasks[task].own)


def _points(rounds: list[int], values: list[float | None]) -> list[tuple[int, float]]:
    pairs = zip(rounds, values, strict=True)
    return [(finished, value) for finished, value in pairs if value is not None]


def _listed(places: list[int]) -> str:
    """Round 5; rounds 5 and 10; rounds 2, 5 and 10."""
    *first, last = map(str, places)
    return f"rounds {', '.join(first)} and {last}" if first else f"round {last}"


def _plain_points(share: float) -> str:
    return fmt.points(share).removeprefix("+")
