"""What the Run view knows of a run at any of its rounds. Pure: no HTTP, no Streamlit."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from meshtune.backend.schemas.compare import Cost, RunCurves
from meshtune.backend.schemas.runs import RunSummary
from meshtune.dashboard.figures.frames import TASK_COLUMNS
from meshtune.engine.config import RunConfig, TaskName
from meshtune.engine.records import RoundRecord, RunStatus


@dataclass(frozen=True)
class At:
    """The numbers of a run after some finished round; accuracies of its last evaluation so far."""

    own: float | None
    all: float | None
    bits: float | None
    airtime_s: float | None
    energy_j: float | None


NOTHING = At(None, None, None, None, None)


def at(curves: RunCurves, finished: int) -> At:
    """The numbers after `finished` rounds; costs are those at the last point of the curve."""
    place = bisect_right(curves.round, finished) - 1
    if place < 0:
        return NOTHING

    def cost(name: Cost) -> float:
        return curves.costs[name][place]

    return At(
        curves.values["accuracy_own"][place],
        curves.values["accuracy_all"][place],
        cost("total_bits"),
        cost("total_airtime_s"),
        cost("total_energy_j"),
    )


def task_frame(curves: RunCurves) -> pd.DataFrame:
    """One row per point and task: accuracy of the task's devices and of all."""
    rows = [
        (finished, task, curve.own[place], curve.all[place])
        for task, curve in curves.tasks.items()
        for place, finished in enumerate(curves.round)
    ]
    frame = pd.DataFrame(rows, columns=list(TASK_COLUMNS))
    return frame.astype({"own": "float64", "all": "float64"})


def lost_frame(curves: RunCurves) -> pd.DataFrame:
    """One row per point: forgetting, and what the exchange undid, as shares."""
    names = ("forgetting", "exchange_loss")
    return pd.DataFrame(
        {"round": curves.round, **{name: curves.values[name] for name in names}}
    ).astype(dict.fromkeys(names, "float64"))


def score_frame(record: RoundRecord | None, config: RunConfig) -> pd.DataFrame:
    """Accuracy in an evaluated round: rows are devices, columns are tasks."""
    present = config.fleet.present_tasks()
    devices = range(config.fleet.devices)
    scores = record.scores if record else ()
    known = {(score.device, score.task): score.accuracy for score in scores}
    rows = [[known.get((device, task)) for task in present] for device in devices]
    return pd.DataFrame(rows, index=list(devices), columns=list(present), dtype="float64")


def own_scores(record: RoundRecord | None) -> dict[int, float]:
    """Accuracy of each device on what it holds in an evaluated round."""
    if record is None or not record.scores:
        return {}
    known = {(score.device, score.task): score.accuracy for score in record.scores}
    return {
        each.device: sum(share * known[each.device, task] for task, share in each.shares.items())
        for each in record.devices
    }


def evaluated_before(config: RunConfig, finished: int) -> int:
    """The last evaluated round among the first `finished`, counted from 1; 0 if there is none."""
    every = config.evaluation.every_rounds
    return finished if finished == config.rounds else finished // every * every


def baseline_of(run: RunSummary, others: Sequence[RunSummary]) -> int | None:
    """A fair baseline: the newest completed plain LoRA run of as many devices and rounds."""
    for other in others:
        same = other.devices == run.devices and other.rounds_total == run.rounds_total
        if other.id != run.id and same and other.status is RunStatus.COMPLETED:
            return other.id
    return None


def routes_table(record: RoundRecord | None) -> tuple[list[TaskName], list[list[float]]]:
    """Tasks, and the share of decisions by task asked (rows) and task of the expert (columns)."""
    if record is None or not record.routes:
        return [], []
    tasks = list(dict.fromkeys(route.asked for route in record.routes))
    share = {(route.asked, route.expert): route.share for route in record.routes}
    return tasks, [[share[asked, expert] for expert in tasks] for asked in tasks]
