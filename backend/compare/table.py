"""Every round of several runs as one table, CSV or Parquet.

Config, seed, versions and commit of each run are in the metadata of the Parquet file, and in the
CSV file in the last column of the first row of the run.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from sqlalchemy import Engine

from meshtune.backend.archive.tables import ABOUT, about
from meshtune.backend.compare.curves import SUM_OF, forgetting
from meshtune.backend.compare.replies import group_of
from meshtune.backend.schemas.runs import RunDetail
from meshtune.db import curves
from meshtune.db.session import reading
from meshtune.engine.config import in_order

TEXTS = ("name", "method", "group", "status")
COUNTS = ("run_id", "seed", "round", "sent_bits", "total_bits")
FRONT = ("run_id", "name", "method", "group", "seed", "status", "round")
SHARES = ("accuracy_own", "accuracy_all", "forgetting", "exchange_loss")
COSTS = ("sent_bits", "airtime_s", "energy_j", "wall_s")


def header(tasks: Sequence[str]) -> list[str]:
    """Names of the columns; units are in them, all else is a share."""
    per_task = [f"{who}_{task}" for task in tasks for who in ("own", "all")]
    return [*FRONT, *SHARES, *COSTS, *SUM_OF, *per_task]


def told(runs: Sequence[RunDetail]) -> str:
    """What a reader needs to know to get the same numbers again, as JSON."""
    listed = [_about(run) for run in runs]
    return json.dumps({"kind": "meshtune-comparison", "format": 1, "runs": listed})


def _about(run: RunDetail) -> dict[str, Any]:
    return about(run) | {"group": group_of(run.config.model_dump(mode="json"))}


def csv_lines(store: Engine, runs: Sequence[RunDetail]) -> Iterator[str]:
    """The header, then the rows of one run after the other; the first of each says what it is."""
    tasks = tasks_of(runs)
    names = [*header(tasks), ABOUT]
    yield ",".join(names) + "\n"
    for run in runs:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, names, lineterminator="\n")
        first = {ABOUT: json.dumps(_about(run))}
        for row in rows(store, run, tasks):
            writer.writerow(row | first)
            first = {}
        yield buffer.getvalue()


def parquet(store: Engine, runs: Sequence[RunDetail]) -> bytes:
    """The table of `csv_lines` as Parquet, a row group per run; `told` is in its metadata.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow  # noqa: PLC0415
    from pyarrow import parquet as files  # noqa: PLC0415

    tasks = tasks_of(runs)
    kinds = dict.fromkeys(header(tasks), pyarrow.float64())
    kinds |= dict.fromkeys(TEXTS, pyarrow.string()) | dict.fromkeys(COUNTS, pyarrow.int64())
    schema = pyarrow.schema(kinds.items(), metadata={"meshtune": told(runs)})
    out = io.BytesIO()
    with files.ParquetWriter(out, schema) as writer:
        for run in runs:
            found = list(rows(store, run, tasks))
            writer.write_table(pyarrow.Table.from_pylist(found, schema=schema))
    return out.getvalue()


def tasks_of(runs: Sequence[RunDetail]) -> list[str]:
    """Tasks that any run holds, in the order of the catalogue."""
    return list(in_order(task for run in runs for task in run.config.fleet.present_tasks()))


def rows(store: Engine, run: RunDetail, tasks: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row per stored round; scores only where the round was evaluated."""
    with reading(store) as session:
        stored = curves.stored(session, run.id)
    key = {
        "run_id": run.id,
        "name": run.name,
        "method": run.method,
        "group": group_of(run.config.model_dump(mode="json")),
        "seed": run.seed,
        "status": str(run.status),
    }
    lost = forgetting([each.own for each in stored.scored.values()]).tolist()
    lost_at = dict(zip(stored.scored, lost, strict=True))
    totals = {**stored.totals}
    totals |= {cost: list(accumulate(totals[name])) for cost, name in SUM_OF.items()}
    for index in range(len(totals["sent_bits"])):
        here = {name: column[index] for name, column in totals.items()}
        row = {**key, "round": index + 1, **here}
        yield row | _scores(stored.scored.get(index), here, lost_at.get(index), tasks)


def _scores(
    scored: curves.Scored | None,
    here: Mapping[str, Any],
    lost: float | None,
    tasks: Sequence[str],
) -> dict[str, float | None]:
    before = None if scored is None else scored.own_before_exchange
    found: dict[str, float | None] = {
        "forgetting": None if lost is None or lost != lost else lost,
        "exchange_loss": None if before is None else before - here["accuracy_own"],
    }
    for task in tasks:
        own, everyone = (None, None) if scored is None else scored.tasks.get(task, (None, None))
        found |= {f"own_{task}": own, f"all_{task}": everyone}
    return found
