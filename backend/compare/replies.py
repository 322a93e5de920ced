"""Several runs side by side: read from the store, as bodies on the wire."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Generic, TypeVar

from sqlalchemy.orm import Session

from meshtune.backend.compare.curves import run_curves
from meshtune.backend.compare.statistics import holm, paired
from meshtune.backend.replies import runs as replies
from meshtune.backend.schemas.compare import (
    Candidate,
    Candidates,
    ComparedRun,
    EstimateOut,
    GroupOut,
    Paired,
    PairedTest,
    RunCurves,
    Study,
)
from meshtune.backend.schemas.runs import RunSummary
from meshtune.db import curves
from meshtune.db.models import Run
from meshtune.engine.records import ENDED, RunStatus
from meshtune.engine.reproduce.statistics import Estimate, estimate
from meshtune.engine.sweep_results import METRICS, Metric

GROUP_DIGITS = 12  # of the hash: enough for any store, short enough for an address
NOT_IN_GROUP = ("seed", "name")  # what runs of one group may differ in
CURVES_KEPT = 256  # curves of ended runs in memory; about 60 kB each
GROUPS_KEPT = 20_000
K = TypeVar("K")
V = TypeVar("V")


def group_of(config: Mapping[str, Any]) -> str:
    """Name of the group of a stored config: a hash of all of it but seed and name."""
    shared = {name: value for name, value in config.items() if name not in NOT_IN_GROUP}
    text = json.dumps(shared, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:GROUP_DIGITS]


class Kept(Generic[K, V]):
    """Values by key, the least recently used dropped first. Threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """The value of `key`, if it is still there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: K, value: V) -> V:
        """Keep a value; gives it back."""
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value


class Memory:
    """What is computed once per process: groups of configs, curves of ended runs."""

    def __init__(self) -> None:
        self.groups: Kept[str, str] = Kept(GROUPS_KEPT)
        self.curves: Kept[tuple[Any, ...], RunCurves] = Kept(CURVES_KEPT)


def groups(session: Session, found: Sequence[Run], memory: Memory) -> dict[int, str]:
    """Group of each run; configs are read only of those whose hash was not seen before."""
    known = {run.id: memory.groups.get(run.config_sha256) for run in found}
    missing = [run for run in found if known[run.id] is None]
    read = curves.configs(session, [run.id for run in missing]) if missing else {}
    fresh = {
        run.id: memory.groups.put(run.config_sha256, group_of(read[run.id] or {}))
        for run in missing
    }
    return {run_id: fresh[run_id] if group is None else group for run_id, group in known.items()}


def candidates(session: Session, found: Sequence[Run], memory: Memory) -> Candidates:
    """Runs that can be compared, with their groups."""
    group = groups(session, found, memory)
    return Candidates(
        runs=[Candidate(**dict(replies.summary(run)), group=group[run.id]) for run in found]
    )


def study(session: Session, found: Sequence[Run], points: int, memory: Memory) -> Study:
    """Configs, versions and curves of these runs."""
    group = groups(session, found, memory)
    return Study(
        runs=[
            ComparedRun(
                run=Candidate(**dict(replies.summary(run)), group=group[run.id]),
                config=run.config or {},
                config_sha256=run.config_sha256,
                provenance=replies.provenance(run),
                curves=_curves(session, run, points, memory),
            )
            for run in found
        ]
    )


def tag(found: Sequence[Run], points: int) -> str:
    """Strong ETag of a study: changes with everything that it says of these runs."""
    told = [
        (run.id, run.config_sha256, run.rounds_done, run.status, run.wanted, run.fence)
        for run in found
    ]
    words = [(run.name, run.note, run.reason, run.priority, str(run.finished_at)) for run in found]
    return hashlib.sha256(repr((points, told, words)).encode()).hexdigest()[:32]


def _curves(session: Session, run: Run, points: int, memory: Memory) -> RunCurves:
    key = (run.id, run.config_sha256, run.fence, run.rounds_done, points)
    kept = memory.curves.get(key)
    if kept is not None:
        return kept
    every = int((run.config or {}).get("evaluation", {}).get("every_rounds", 1))
    drawn = run_curves(curves.stored(session, run.id), every, points)
    # A failed run may be tried again under another fence, so what is kept stays true.
    return memory.curves.put(key, drawn) if run.status in ENDED else drawn


# Groups and tests


def compared_groups(
    found: Sequence[Run | RunSummary], group: Mapping[int, str], reference: int
) -> Paired:
    """Estimates of every group of these runs, and tests against the group of the reference.

    Args:
        found: the runs.
        group: of each of them, by number.
        reference: number of one of them.
    """
    members: dict[str, list[Run | RunSummary]] = {}
    for run in found:
        members.setdefault(group[run.id], []).append(run)
    finals = {name: _finals(of_group) for name, of_group in members.items()}
    return Paired(
        reference=group[reference],
        groups=[
            GroupOut(
                group=name,
                runs=[run.id for run in of_group],
                seeds=sorted({run.seed for run in of_group if _counts(run)}),
                estimates={
                    metric: estimate_out(estimate(list(by_seed.values())))
                    for metric, by_seed in finals[name].items()
                    if by_seed
                },
            )
            for name, of_group in members.items()
        ],
        tests=[test for metric in METRICS for test in _tests(finals, group[reference], metric)],
    )


Finals = dict[Metric, dict[int, float]]  # by seed


def _counts(run: Run | RunSummary) -> bool:
    return run.status is RunStatus.COMPLETED


def _finals(members: Sequence[Run | RunSummary]) -> Finals:
    """Last values of the completed runs by seed; of two runs with one seed, the newer one's."""
    completed = sorted((run for run in members if _counts(run)), key=lambda run: run.id)
    return {
        metric: {
            run.seed: float(value)
            for run in completed
            if (value := getattr(run, metric)) is not None
        }
        for metric in METRICS
    }


def _tests(finals: Mapping[str, Finals], reference: str, metric: Metric) -> list[PairedTest]:
    others = [name for name in finals if name != reference]
    found = [paired(finals[name][metric], finals[reference][metric]) for name in others]
    p_t = holm([each.p_t for each in found])
    p_wilcoxon = holm([each.p_wilcoxon for each in found])
    return [
        PairedTest(
            group=name,
            metric=metric,
            seeds=list(each.seeds),
            difference=None if each.difference is None else estimate_out(each.difference),
            effect=each.effect,
            p_t=each.p_t,
            p_t_holm=p_t[place],
            p_wilcoxon=each.p_wilcoxon,
            p_wilcoxon_holm=p_wilcoxon[place],
            why_not=each.why_not,
        )
        for place, (name, each) in enumerate(zip(others, found, strict=True))
    ]


def estimate_out(found: Estimate) -> EstimateOut:
    """An estimate as the wire has it."""
    return EstimateOut(mean=found.mean, half_width=found.half_width, count=found.count)
