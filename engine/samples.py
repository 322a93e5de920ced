"""The samples that devices train on and are tested with: of the catalogue, or of files of rows."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from meshtune.engine.config import FileTask, RunConfig, TaskName
from meshtune.engine.data.dataset import Dataset, dataset_of
from meshtune.engine.data.kept import data_folder
from meshtune.engine.data.partition import apportioned
from meshtune.engine.data.reading import read_table
from meshtune.engine.data.rows import DataError
from meshtune.engine.data.template import Example
from meshtune.engine.errors import AssetMissing
from meshtune.engine.rng import stream
from meshtune.engine.shares import mixtures
from meshtune.engine.tasks import dialled
from meshtune.engine.tasks.base import Sample, test_samples, train_samples

FILES_KEPT = 16  # as read, in a process


def trained_on(config: RunConfig, device: int) -> tuple[Sample, ...]:
    """The `fleet.train_samples` samples of a device, tasks mixed as `mixtures` has it.

    Devices that hold one file share its rows, each by what it wants of them; who gets fewer than
    it needs repeats them.

    Raises:
        AssetMissing: the file of its task is not on this disk, or is another one.
        DataError: no row of it can be used, or there are more devices than rows.
    """
    tasks, shares = config.fleet.present_tasks(), mixtures(config.fleet, config.seed)
    counts = apportioned(config.fleet.train_samples, shares[device])
    drawn = [
        sample
        for k, name in enumerate(tasks)
        for sample in _of_task(config, name, shares[:, k], device, int(counts[k]))
    ]
    if (counts > 0).sum() == 1:
        return tuple(drawn)
    order = stream(config.seed, "mixture", device).permutation(len(drawn)).tolist()
    return tuple(drawn[i] for i in order)


def _of_task(
    config: RunConfig, name: TaskName, shares: Float64[np.ndarray, " n"], device: int, count: int
) -> tuple[Sample, ...]:
    """Samples of one task for a device, whose share of it is the one of that number."""
    if count == 0:
        return ()
    task = brought(config, name)
    if task is None:
        return train_samples(dialled(name, config.fleet.declined), config.seed, device, count)
    rows = dataset(task).train
    dealt = stream(config.seed, "task", name, "deal").permutation(len(rows)).tolist()
    each = apportioned(len(rows), shares)
    first = int(each[:device].sum())
    mine = dealt[first : first + int(each[device])]
    if not mine:
        holders = int((shares > 0).sum())
        raise DataError(f"{task.path} has {len(rows)} rows to train on for {holders} devices")
    return tuple(_sample(task, rows[mine[i % len(mine)]]) for i in range(count))


def held_out(config: RunConfig, name: TaskName, count: int | None = None) -> tuple[Sample, ...]:
    """Held-out samples of a task, the same for every device; of a file as many as it has.

    Args:
        config: the experiment.
        name: the task.
        count: at most; `evaluation.samples_per_task` if None.

    Raises:
        AssetMissing: the file of the task is not on this disk, or is another one.
        DataError: no row of it is for testing.
    """
    task = brought(config, name)
    wanted = config.evaluation.samples_per_task if count is None else count
    if task is None:
        return test_samples(dialled(name, config.fleet.declined), config.seed, wanted)
    rows = dataset(task).test
    if not rows:
        raise DataError(f"{task.path} has no row to test with; raise test_fraction")
    order = stream(config.seed, "task", name, "test").permutation(len(rows)).tolist()
    return tuple(_sample(task, rows[i]) for i in order[:wanted])


def require_rows(config: RunConfig, task: FileTask) -> None:
    """Whether a task that is brought along has rows for every device that holds it, and a test.

    Raises:
        AssetMissing: its file is not on this disk, or is another one.
        DataError: it has too few rows.
    """
    tasks = config.fleet.present_tasks()
    if task.name not in tasks:
        return
    shares = mixtures(config.fleet, config.seed)
    column = shares[:, tasks.index(task.name)]
    for device in column.nonzero()[0].tolist():
        wanted = apportioned(config.fleet.train_samples, shares[device])
        _of_task(config, task.name, column, device, min(1, int(wanted[tasks.index(task.name)])))
    held_out(config, task.name)


def brought(config: RunConfig, name: TaskName) -> FileTask | None:
    """The task of that name that the config brings along; None if it is one of the catalogue."""
    return next((task for task in config.tasks if task.name == name), None)


def all_samples(task: FileTask) -> tuple[Sample, ...]:
    """Every row of the file of a task, in its order.

    Raises:
        AssetMissing: the file is not on this disk, or is another one.
        DataError: no row of it can be used.
    """
    return tuple(_sample(task, row) for row in dataset(task).examples)


def data_sha256(config: RunConfig) -> dict[TaskName, str]:
    """SHA-256 of the file of every task that a config brings along and a device holds."""
    held = (brought(config, name) for name in config.fleet.present_tasks())
    return {task.name: dataset(task).sha256 for task in held if task is not None}


def dataset(task: FileTask) -> Dataset:
    """All rows of the file of a task.

    Raises:
        AssetMissing: the file is not on this disk, or is another one.
        DataError: no row of it can be used.
    """
    path = data_folder() / Path(task.path.strip())  # a whole path stays what it is
    try:
        stat = path.stat()
    except (OSError, ValueError) as error:
        raise AssetMissing(
            f"{str(path.absolute())[:500]} cannot be read; give the whole path, or put the file "
            f"there with `meshtune data add FILE`"
        ) from error
    found = _read(path, task, (stat.st_mtime_ns, stat.st_size))
    if task.sha256 and task.sha256 != found.sha256:
        raise AssetMissing(
            f"{path.absolute()} has SHA-256 {found.sha256} but the config asks for {task.sha256}; "
            "put the right file there, or change or clear sha256"
        )
    return found


@lru_cache(maxsize=FILES_KEPT)
def _read(path: Path, task: FileTask, _written: tuple[int, int]) -> Dataset:
    return dataset_of(read_table(path), task, task.sides())


def _sample(task: FileTask, row: Example) -> Sample:
    # Models learnt words with the blank before them, so that it belongs to the answer.
    blank = "" if row.prompt[-1:].isspace() else " "
    return Sample(
        row.prompt,
        f"{blank}{row.answer}",
        tuple(f"{blank}{choice}" for choice in row.choices),
        task.score,
        task.tokens,
    )
