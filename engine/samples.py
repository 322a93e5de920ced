"""The samples that devices train on and are tested with: of the catalogue, or of files of rows."""

from functools import lru_cache
from pathlib import Path

from meshtune.engine.config import FileTask, RunConfig, TaskName
from meshtune.engine.data.dataset import Dataset, dataset_of
from meshtune.engine.data.kept import data_folder
from meshtune.engine.data.reading import read_table
from meshtune.engine.data.rows import DataError
from meshtune.engine.data.template import Example
from meshtune.engine.errors import AssetMissing
from meshtune.engine.rng import stream
from meshtune.engine.tasks import TASKS
from meshtune.engine.tasks.base import Sample, test_samples, train_samples

FILES_KEPT = 16  # as read, in a process


def trained_on(config: RunConfig, device: int) -> tuple[Sample, ...]:
    """The `fleet.train_samples` samples of a device.

    Devices that hold one file share its rows evenly; who has fewer than it needs repeats them.

    Raises:
        AssetMissing: the file of its task is not on this disk, or is another one.
        DataError: no row of it can be used, or there are more devices than rows.
    """
    name, count = config.fleet.task_of(device), config.fleet.train_samples
    task = brought(config, name)
    if task is None:
        return train_samples(TASKS[name], config.seed, device, count)
    holders = [i for i in range(config.fleet.devices) if config.fleet.task_of(i) == name]
    rows = dataset(task).train
    dealt = stream(config.seed, "task", name, "deal").permutation(len(rows)).tolist()
    mine = dealt[holders.index(device) :: len(holders)]
    if not mine:
        raise DataError(f"{task.path} has {len(rows)} rows to train on for {len(holders)} devices")
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
        return test_samples(TASKS[name], config.seed, wanted)
    rows = dataset(task).test
    if not rows:
        raise DataError(f"{task.path} has no row to test with; raise test_fraction")
    order = stream(config.seed, "task", name, "test").permutation(len(rows)).tolist()
    return tuple(_sample(task, rows[i]) for i in order[:wanted])


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
