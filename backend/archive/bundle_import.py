"""A bundle as a run of this store; what it says was checked before.

A run comes in by the moves of a run that was trained here, in one transaction.
"""

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from meshtune.backend.archive.bundle import CHECKPOINT, BundleError, Manifest
from meshtune.backend.archive.bundle_check import Incoming, checked, records
from meshtune.backend.archive.bundle_source import NO_MORE, Limits, opened
from meshtune.backend.replies import runs as replies
from meshtune.backend.settings import Settings
from meshtune.backend.training.artefacts import Artefacts, open_artefacts
from meshtune.db import leases, moves, runs
from meshtune.db.models import Run, RunEvent, Wanted
from meshtune.db.session import writing
from meshtune.engine.records import RunStatus

IMPORTER = "import"  # owner of a run while it comes in; nobody sees it, it is one transaction
LEASE_S = 60.0
INPUT_SUFFIXES = (".npz", ".csv")


def import_run(
    path: Path,
    store: Engine,
    settings: Settings,
    actor: str = moves.PERSON,
    limits: Limits = NO_MORE,
) -> int:
    """Rebuild the run of a bundle; its number here.

    An ended run comes in as it ended. Any other comes in paused, so that a file starts no work by
    itself; when resumed it goes on from its checkpoint.

    Args:
        path: folder or zip file.
        store: where the run goes.
        settings: where its checkpoint and its input files go.
        actor: who asks, for the events of the run.
        limits: what the bundle may be at most.

    Raises:
        BundleError: the bundle is damaged, too large or of another version, or this lab has other
            input files of the same names.
        meshtune.db.errors.StoreUnavailable: the store cannot be written.
        OSError: the state folder cannot be written.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=settings.state_dir, prefix=".import-") as staging:
        with opened(path, limits) as source:
            incoming = checked(source, Path(staging), limits)
        _check_inputs(incoming, settings.state_dir)
        placed = _place_inputs(incoming, settings.state_dir)
        artefacts = open_artefacts(settings)
        kept: list[str] = []
        try:
            with writing(store) as session:
                number = _adopted(session, incoming, artefacts, kept, actor, limits)
                _read_back(session, number)
                return number
        except BaseException:
            for name in kept:
                artefacts.drop(name)
            for file in placed:
                file.unlink(missing_ok=True)
            raise


# Into the store


def _adopted(
    session: Session,
    incoming: Incoming,
    artefacts: Artefacts,
    kept: list[str],
    actor: str,
    limits: Limits,
) -> int:
    """Number of the run, which has made the moves of a trained one."""
    manifest = incoming.manifest
    run = runs.create(session, incoming.config, note=manifest.note, actor=actor)
    run.name = manifest.name  # it may have been renamed
    claim = _claimed(session, run, incoming)
    name = f"{run.id}-{manifest.rounds_done - 1}-f{claim.fence}.safetensors"
    if (incoming.folder / CHECKPOINT).is_file() and manifest.rounds_done:
        kept.append(name)
        artefacts.keep(name, lambda path: _copy_file(incoming.folder / CHECKPOINT, path))
    if manifest.provenance is not None:
        leases.record_provenance(session, claim, manifest.provenance)
    for record in records(incoming, limits):
        leases.append_round(session, claim, record, name, lease_s=LEASE_S)
    if manifest.outcome is None:
        run.wanted = Wanted.PAUSE
        session.flush()
        leases.release(session, claim, "imported")
    else:
        leases.finish(session, claim, manifest.outcome, manifest.reason)
        run.finished_at = manifest.here.finished_at or run.finished_at
    run.started_at = manifest.here.started_at
    session.add(
        RunEvent(
            run_id=run.id,
            at=datetime.now(UTC),
            kind="imported",
            actor=actor,
            fence=claim.fence,
            detail=_origin(manifest),
        )
    )
    return run.id


def _read_back(session: Session, number: int) -> None:
    """Read it as everybody will: what cannot be read must not be stored."""
    session.flush()
    session.expire_all()
    replies.detail(session, runs.get(session, number))


def _claimed(session: Session, run: Run, incoming: Incoming) -> leases.Claim:
    """The claim under which it comes in, of this very run, whatever waits in the queue."""
    run.status, run.owner, run.fence, run.lease_until = RunStatus.RUNNING, IMPORTER, 1, 1.0
    session.flush()
    return leases.Claim(
        run_id=run.id,
        fence=run.fence,
        worker=IMPORTER,
        attempt=1,
        config=incoming.config,
        rounds_done=0,
        checkpoint=None,
    )


def _origin(manifest: Manifest) -> str:
    made = manifest.provenance
    version = f" of Meshtune {made.meshtune}" if made else ""
    return f"imported from run {manifest.here.run_id}{version}, {manifest.here.status} there"


def _copy_file(source: Path, target: Path) -> None:
    """As `save_state` writes: under another name first, safe on the disk, then renamed."""
    temporary = target.with_name(target.name + ".tmp")
    shutil.copyfile(source, temporary)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(target)


# Files that the run reads


def _check_inputs(incoming: Incoming, state_dir: Path) -> None:
    """A file of the same name in the lab must be the same file, or runs would read the other."""
    for name in _inputs(incoming):
        ours = incoming.folder / name
        for suffix in INPUT_SUFFIXES:
            held = (state_dir / name).with_suffix(suffix)
            if held.is_file() and (suffix != ours.suffix or held.read_bytes() != ours.read_bytes()):
                raise BundleError(
                    f"the run reads another {name} than the one that is here; move {held} away, "
                    "or import into another state folder (MESHTUNE_STATE_DIR)"
                )


def _place_inputs(incoming: Incoming, state_dir: Path) -> list[Path]:
    """Put them where runs look for them; those that were not there before."""
    placed = []
    for name in _inputs(incoming):
        target = state_dir / name
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (incoming.folder / name).rename(target)
            placed.append(target)
    return placed


def _inputs(incoming: Incoming) -> list[str]:
    return [name for name in incoming.manifest.files if name.startswith("inputs/")]
