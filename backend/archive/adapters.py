"""Adapters of a stored run as folders that plain `peft` loads, each with its model card."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from meshtune.backend.archive.bundle import BundleError, as_folder, as_zip
from meshtune.backend.replies import runs as replies
from meshtune.backend.schemas.runs import RunDetail
from meshtune.backend.settings import Settings
from meshtune.backend.training.artefacts import open_artefacts
from meshtune.db import rounds, runs
from meshtune.db.rounds import Detail
from meshtune.db.session import reading
from meshtune.engine.errors import AssetMissing, CheckpointError
from meshtune.engine.models.door import stock_name
from meshtune.engine.peft_card import CARD_FILE, Origin, card
from meshtune.engine.peft_io import Files, checkpoint_header, merged_folder, peft_folders
from meshtune.engine.records import RoundRecord


@dataclass(frozen=True)
class Choice:
    """Which adapters of a run: those of all devices, or one.

    Attributes:
        device: That of this device.
        expert: That of the device which answers this task best, of those that hold it.
        merged: The mean of the updates of all devices.
    """

    device: int | None = None
    expert: str | None = None
    merged: bool = False

    def __post_init__(self) -> None:
        if (self.device is not None) + (self.expert is not None) + self.merged > 1:
            raise BundleError("device, expert and merged are three adapters; name one of them")


def export_adapters(
    store: Engine, settings: Settings, run_id: int, choice: Choice, out: Path
) -> None:
    """Write the adapters as a folder or, if `out` ends in .zip, as a file.

    One adapter lies in the folder itself, those of all devices in folders below it.

    Raises:
        BundleError: there is something else at `out`, or there is no such adapter.
        RunNotFound: there is no such run.
        StoreUnavailable: its checkpoint cannot be reached.
        OSError: `out` cannot be written.
    """
    write = as_zip if out.suffix.lower() == ".zip" else as_folder
    write(out, partial(_fill, store, settings, run_id, choice))


def _fill(store: Engine, settings: Settings, run_id: int, choice: Choice, folder: Path) -> None:
    with reading(store) as session:
        run = runs.get(session, run_id)
        detail, checkpoint = replies.detail(session, run), run.checkpoint
    _require_held(choice, detail)
    with _kept(settings, run_id, checkpoint) as path:
        origin = _origin(store, detail, path)
        for name, files in _chosen(choice, path, origin):
            home = folder / name
            home.mkdir(parents=True)
            for file, content in files.items():
                (home / file).write_bytes(content)


def _require_held(choice: Choice, run: RunDetail) -> None:
    fleet = run.config.fleet
    if choice.device is not None and not 0 <= choice.device < fleet.devices:
        raise BundleError(
            f"run {run.id} has no device {choice.device}; its devices are 0 to {fleet.devices - 1}"
        )
    if choice.expert is not None and choice.expert not in fleet.present_tasks():
        raise BundleError(
            f"no device of run {run.id} holds {choice.expert}; "
            f"choose {', '.join(fleet.present_tasks())}"
        )


@contextmanager
def _kept(settings: Settings, run_id: int, checkpoint: str | None) -> Iterator[Path]:
    """The checkpoint of the run.

    Raises:
        BundleError: none is kept, or it is damaged.
    """
    if checkpoint is None:
        raise BundleError(f"run {run_id} has no checkpoint; export it once a round is finished")
    with open_artefacts(settings).fetched(checkpoint) as path:
        if not path.is_file():
            raise BundleError(
                f"the checkpoint {checkpoint} of run {run_id} is gone; train the run again"
            )
        try:
            yield path
        except CheckpointError as error:
            raise BundleError(str(error)) from error


def _origin(store: Engine, run: RunDetail, checkpoint: Path) -> Origin:
    if checkpoint_header(checkpoint).rounds_done != run.rounds_done:
        raise BundleError(f"the checkpoint of run {run.id} is of another round; try again")
    try:
        base = stock_name(run.config.model)
    except AssetMissing:
        base = run.config.model.path
    return Origin(
        config=run.config,
        provenance=run.provenance,
        rounds_done=run.rounds_done,
        sent_bits=run.sent_bits,
        evaluated=_evaluated(store, run),
        base=base,
    )


def _evaluated(store: Engine, run: RunDetail) -> RoundRecord | None:
    """The last round with an evaluation."""
    done, every = run.rounds_done, run.config.evaluation.every_rounds
    index = done - 1 if done == run.rounds_total else done // every * every - 1
    if index < 0:
        return None
    with reading(store) as session:
        found = rounds.listed(session, run.id, after=index - 1, limit=1, detail=Detail.SCORES)
    return found[0] if found else None


def _chosen(choice: Choice, checkpoint: Path, origin: Origin) -> Iterator[tuple[str, Files]]:
    """Name below the folder, and files, of each adapter."""
    config, base = origin.config, origin.base
    if choice.merged:
        what = (
            f"the mean of the updates B A of all {config.fleet.devices} devices, each with the "
            "same weight and none cut off, so that the ranks add up"
        )
        yield "", merged_folder(checkpoint, config, base) | _card(origin, what, None)
        return
    devices = list(range(config.fleet.devices))
    told = ""
    if choice.expert is not None:
        devices = [best_of(choice.expert, origin)]
        told = ", the best on it of those that hold it"
    elif choice.device is not None:
        devices = [choice.device]
    folders = peft_folders(checkpoint, config, devices, base)
    for device, files in zip(devices, folders, strict=True):
        task = config.fleet.task_of(device)
        what = f"the adapter of device {device}, which holds the task {task}{told}"
        name = "" if choice != Choice() else f"device-{device:03d}"
        yield name, files | _card(origin, what, device)


def _card(origin: Origin, what: str, device: int | None) -> Files:
    return {CARD_FILE: card(origin, what, device).encode()}


def best_of(task: str, origin: Origin) -> int:
    """Of the devices that hold a task the best on it at the last evaluation, else the first."""
    fleet = origin.config.fleet
    holders = [device for device in range(fleet.devices) if fleet.task_of(device) == task]

    def accuracy(device: int) -> float:
        return max((s.accuracy for s in origin.scores_of(device) if s.task == task), default=0.0)

    return max(holders, key=accuracy)
