"""A run to take away: JSON lines (everything), CSV or Parquet (a row per round, device, task).

Config, seed, versions and commit are in the first line of the JSON lines, in the metadata of a
Parquet file, and in the first row of a CSV file, in its last column.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

from sqlalchemy import Engine

from meshtune.backend.schemas.runs import RunDetail
from meshtune.db import rounds
from meshtune.db.session import reading
from meshtune.engine.records import DeviceRecord, RoundRecord, ScoreRecord

EXPORT_PAGE = 50  # rounds read at a time, so that no transaction stays open while a client reads
HEADER = (
    "run_id",
    "method",
    "seed",
    "round_index",
    "device",
    "device_task",
    "scored_task",
    "accuracy",
    "loss",
    "device_train_loss",
    "device_x_m",
    "device_y_m",
    "device_sent_bits",
    "device_airtime_s",
    "device_energy_j",
    "round_train_loss",
    "round_accuracy_own",
    "round_accuracy_all",
    "round_consensus_distance",
    "round_delivered_fraction",
    "round_sent_bits",
    "round_airtime_s",
    "round_energy_j",
    "round_wall_s",
    "device_cluster",
    "device_receive_j",
    "device_compute_s",
    "device_compute_j",
    "device_present",
    "round_receive_j",
    "round_compute_j",
    "round_round_s",
)
# The table comes first, so that any program reads it as it is; what it is of stays in the one file.
ABOUT = "about"
CSV_HEADER = (*HEADER, ABOUT)
TEXTS = ("method", "device_task", "scored_task")
COUNTS = (
    "run_id",
    "seed",
    "round_index",
    "device",
    "device_sent_bits",
    "device_cluster",
    "round_sent_bits",
)


def about(run: RunDetail) -> dict[str, Any]:
    """What a reader needs to know to get the same numbers again."""
    told = run.model_dump(
        mode="json",
        include={"id", "name", "status", "reason", "seed", "rounds_done", "rounds_total"}
        | {"created_at", "started_at", "finished_at", "config", "config_sha256", "provenance"},
    )
    return {"kind": "meshtune-run", "format": 1, **told}


def jsonl_lines(run: RunDetail, records: Iterable[RoundRecord]) -> Iterator[str]:
    """First `about`, then a record per line."""
    yield json.dumps(about(run), separators=(",", ":")) + "\n"
    for record in records:
        yield record.model_dump_json() + "\n"


def csv_lines(run: RunDetail, records: Iterable[RoundRecord]) -> Iterator[str]:
    """The header, then the rows, a round at a time; the first row ends with `about`."""
    yield ",".join(CSV_HEADER) + "\n"
    told: str | None = json.dumps(about(run), separators=(",", ":"))
    for record in records:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        for row in _rows(run, record):
            writer.writerow((*row, told))
            told = None
        yield buffer.getvalue()


def table_lines(run: RunDetail, records: Iterable[RoundRecord]) -> Iterator[str]:
    """As `csv_lines`, without what another store would say otherwise: `about` and `run_id`."""
    yield ",".join(HEADER[1:]) + "\n"
    for record in records:
        buffer = io.StringIO()
        rows = (row[1:] for row in _rows(run, record))
        csv.writer(buffer, lineterminator="\n").writerows(rows)
        yield buffer.getvalue()


def write_parquet(out: IO[bytes], run: RunDetail, records: Iterable[RoundRecord]) -> None:
    """The table of `csv_lines` as Parquet, a row group per round; `about` is in its metadata alone.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    kinds = {name: pyarrow.float64() for name in HEADER}
    kinds |= dict.fromkeys(TEXTS, pyarrow.string()) | dict.fromkeys(COUNTS, pyarrow.int64())
    kinds["device_present"] = pyarrow.bool_()
    told = {"meshtune": json.dumps(about(run), separators=(",", ":"))}
    schema = pyarrow.schema(kinds.items(), metadata=told)
    with parquet.ParquetWriter(out, schema) as writer:
        for record in records:
            columns = dict(zip(HEADER, zip(*_rows(run, record), strict=True), strict=True))
            writer.write_table(pyarrow.table(columns, schema=schema))


def _rows(run: RunDetail, record: RoundRecord) -> Iterator[tuple[Any, ...]]:
    scores: dict[int, list[ScoreRecord]] = {}
    for score in record.scores:
        scores.setdefault(score.device, []).append(score)
    for device in record.devices:
        # A round without evaluation still says what each device sent.
        measured = [_score(score) for score in scores.get(device.device, ())] or [(None,) * 3]
        for score_cells in measured:
            yield (*_key(run, record, device), *score_cells, *_totals(device, record))


def _key(run: RunDetail, record: RoundRecord, device: DeviceRecord) -> tuple[Any, ...]:
    return (run.id, run.method, run.seed, record.round_index, device.device, device.task)


def _score(score: ScoreRecord) -> tuple[Any, ...]:
    return (score.task, score.accuracy, score.loss)


def _totals(device: DeviceRecord, record: RoundRecord) -> tuple[Any, ...]:
    return (
        device.train_loss,
        device.x_m,
        device.y_m,
        device.sent_bits,
        device.airtime_s,
        device.energy_j,
        record.train_loss,
        record.accuracy_own,
        record.accuracy_all,
        record.consensus_distance,
        record.delivered_fraction,
        record.sent_bits,
        record.airtime_s,
        record.energy_j,
        record.wall_s,
        device.cluster,
        device.receive_j,
        device.compute_s,
        device.compute_j,
        device.present,
        record.receive_j,
        record.compute_j,
        record.round_s,
    )


def stored_rounds(store: Engine, run: RunDetail) -> Iterator[RoundRecord]:
    """Every round that `run` says is done, oldest first, a page at a time."""
    after = -1
    while after + 1 < run.rounds_done:  # rounds that finish meanwhile are not in the first line
        with reading(store) as session:
            page = rounds.listed(
                session, run.id, after=after, limit=min(EXPORT_PAGE, run.rounds_done - after - 1)
            )
        if not page:
            return
        yield from page
        after = page[-1].round_index
