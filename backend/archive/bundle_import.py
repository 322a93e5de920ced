"""A bundle as a run of this store. A bundle is a stranger's file: nothing in it is taken on trust.

Files are known by name or refused, bounded before they are unpacked, hashed, and only then read.
A run comes in by the moves of a run that was trained here, in one transaction.
"""

import hashlib
import json
import math
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from meshtune.backend.archive.bundle import (
    CHECKPOINT,
    CHUNK_BYTES,
    LARGEST_BYTES,
    MANIFEST,
    MEMBER,
    RECORDS,
    BundleError,
    BundleTooLarge,
    FileFacts,
    Manifest,
    canonical_sha256,
    inputs_of,
)
from meshtune.backend.replies import runs as replies
from meshtune.backend.settings import Settings
from meshtune.backend.training.artefacts import Artefacts, open_artefacts
from meshtune.db import leases, moves, runs
from meshtune.db.models import Run, RunEvent, Wanted
from meshtune.db.session import writing
from meshtune.engine.adapters.peft_io import checkpoint_header
from meshtune.engine.config import RunConfig, plain_errors
from meshtune.engine.errors import CheckpointError
from meshtune.engine.records import RoundRecord, RunStatus

IMPORTER = "import"  # owner of a run while it comes in; nobody sees it, it is one transaction
LEASE_S = 60.0
INT64_MAX = 2**63 - 1
INPUT_SUFFIXES = (".npz", ".csv")
# What macOS, Windows and KDE leave behind; it is passed over, never read.
OF_DESKTOPS = re.compile(
    r"__MACOSX/.*|(.*/)?(\._[^/]*|\.DS_Store|\.localized|\.directory|Icon\r"
    r"|(?i:desktop\.ini|(eh)?thumbs\.db))",
    re.DOTALL,
)
WRONG_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # a way of packing that zipfile does not know
    OSError,
    OverflowError,
    RuntimeError,  # a password
    ValueError,
)


@dataclass(frozen=True)
class Limits:
    """What a bundle may be at most.

    Attributes:
        unpacked_bytes: of all files together.
        files: two adapter files per device of the largest fleet, and some more.
        manifest_bytes: it is parsed at once.
        line_bytes: a round with all its links.
        ratio: how far a zip file of more than `unpacked_free_bytes` may shrink; rounds in which
            little happens shrink to a fiftieth.
        unpacked_free_bytes: see above.
    """

    unpacked_bytes: int = LARGEST_BYTES
    files: int = 600
    manifest_bytes: int = 32 << 20
    line_bytes: int = 64 << 20
    ratio: int = 200
    unpacked_free_bytes: int = 16 << 20


NO_MORE = Limits()


@dataclass(frozen=True)
class Source:
    """A folder or zip file, whichever it is: sizes by name, and how to read one."""

    sizes: dict[str, int]
    open: Callable[[str], IO[bytes]]


@dataclass(frozen=True)
class Incoming:
    """A checked bundle. `folder` holds the files that are needed, each with the right hash."""

    manifest: Manifest
    config: RunConfig
    folder: Path


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
        with _opened(path, limits) as source:
            incoming = _checked(source, Path(staging), limits)
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


# Reading a stranger's file


@contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[Source]:
    if path.is_dir():
        yield _folder(path, limits)
        return
    if not path.is_file():
        raise BundleError(f"there is no {path}; name a folder or zip file of meshtune export")
    try:
        archive = zipfile.ZipFile(path)
    except WRONG_ZIP as error:
        raise BundleError(f"{path.name} is no zip file, or a damaged one: {error}") from error
    with archive:
        yield _zip(archive, path.stat().st_size, limits)


def _folder(path: Path, limits: Limits) -> Source:
    held: dict[str, int] = {}
    for found in path.rglob("*"):
        name = found.relative_to(path).as_posix()
        if found.is_symlink():
            raise BundleError(f"the bundle holds a link, {_shown(name)}; export the run again")
        if found.is_dir():
            continue
        held[name] = found.stat().st_size
        _require_few(len(held), limits)
    names = _own_names(held)
    sizes = {name: held[there] for name, there in names.items()}
    _require_small(sum(sizes.values()), limits)
    return Source(sizes, lambda name: (path / names[name]).open("rb"))


def _zip(archive: zipfile.ZipFile, packed_bytes: int, limits: Limits) -> Source:
    held: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        _require_few(len(held) + 1, limits)
        name = entry.filename.replace("\\", "/")  # as some tools of Windows write it
        if name.endswith("/"):  # a folder
            continue
        if name in held:
            raise BundleError(f"the bundle holds {_shown(name)} twice; export the run again")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise BundleError(f"the bundle holds a link, {_shown(name)}; export the run again")
        held[name] = entry
    names = _own_names(held)
    sizes = {name: held[there].file_size for name, there in names.items()}
    total = sum(sizes.values())
    _require_small(total, limits)
    if total > limits.unpacked_free_bytes and total > limits.ratio * packed_bytes:
        raise BundleTooLarge(
            f"the bundle unpacks to {total // max(packed_bytes, 1)} times its size, more than "
            f"{limits.ratio}; send its folder instead"
        )
    return Source(sizes, lambda name: archive.open(held[names[name]]))


def _own_names(held: Iterable[str]) -> dict[str, str]:
    """Names as the export gave them, each with its name here, after a desktop packed them again.

    Desktops put a folder around what they pack, and files of their own beside it.
    """
    left = [name for name in held if not OF_DESKTOPS.fullmatch(name)]
    tops = {name.partition("/")[0] for name in left}
    around = f"{tops.pop()}/" if len(tops) == 1 and MANIFEST not in left else ""
    if around + MANIFEST not in left:
        around = ""
    return {_known(name.removeprefix(around)): name for name in left}


def _known(name: str) -> str:
    if not MEMBER.fullmatch(name):
        raise BundleError(f"the bundle holds {_shown(name)}, which no run has; export it again")
    return name


def _shown(name: str) -> str:
    return ascii(name[:80])


def _require_few(files: int, limits: Limits) -> None:
    if files > limits.files:
        raise BundleTooLarge(f"the bundle holds more than {limits.files} files; export it again")


def _require_small(size: int, limits: Limits) -> None:
    if size > limits.unpacked_bytes:
        raise BundleTooLarge(
            f"the bundle unpacks to {size:,} bytes, more than {limits.unpacked_bytes:,}; "
            "use `meshtune import` on the machine of the lab"
        )


def _checked(source: Source, staging: Path, limits: Limits) -> Incoming:
    manifest = _manifest(source, limits)
    known = set(manifest.files) | {MANIFEST}
    if set(source.sizes) != known:
        which = _shown(min(set(source.sizes) ^ known))
        raise BundleError(f"the bundle and its manifest disagree on {which}; export it again")
    config = _config(manifest)
    reads = inputs_of(config)
    odd = [n for n in known if n.startswith("inputs/") and n.rpartition(".")[0] not in reads]
    if odd:
        raise BundleError(f"the bundle holds {odd[0]}, which its run does not read; export again")
    if RECORDS not in manifest.files:
        raise BundleError(f"the bundle has no {RECORDS}; export the run again")
    for name, facts in manifest.files.items():
        needed = name in {CHECKPOINT, RECORDS} or name.startswith("inputs/")
        _copy(source, name, facts, staging / name if needed else None)
    if CHECKPOINT in known:
        _check_checkpoint(staging / CHECKPOINT, manifest)
    return Incoming(manifest, config, staging)


def _manifest(source: Source, limits: Limits) -> Manifest:
    size = source.sizes.get(MANIFEST)
    if size is None:
        raise BundleError(f"this is no bundle of a run: it has no {MANIFEST}")
    if size > limits.manifest_bytes:
        raise BundleTooLarge(f"{MANIFEST} is larger than {limits.manifest_bytes:,} bytes")
    with _damage(MANIFEST), source.open(MANIFEST) as file:
        text = file.read(limits.manifest_bytes + 1)
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(
            f"{MANIFEST} is damaged or of another version of Meshtune: {_first(error)}"
        ) from error


def _config(manifest: Manifest) -> RunConfig:
    try:
        config = RunConfig.model_validate(manifest.config)
        same = canonical_sha256(manifest.config) == manifest.config_sha256
    except ValidationError as error:
        raise BundleError(
            f"the config of the bundle does not fit this Meshtune: {_first(error)}"
        ) from error
    except ValueError as error:
        raise BundleError(f"the config of the bundle is damaged: {error}") from error
    if not same or (manifest.seed, manifest.rounds_total) != (config.seed, config.rounds):
        raise BundleError("the config of the bundle was changed after it was hashed; export again")
    done, ended = manifest.rounds_done, manifest.outcome
    if done > config.rounds or (ended is RunStatus.COMPLETED and done != config.rounds):
        raise BundleError(f"the bundle says {ended} after {done} of {config.rounds} rounds")
    if ended in {RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED}:
        raise BundleError(f"the bundle calls {ended} an end; export the run again")
    return config


def _copy(source: Source, name: str, facts: FileFacts, target: Path | None) -> None:
    """Read a file to its end, into `target` if it is wanted; refuse it unless size and hash fit."""
    digest, length = hashlib.sha256(), 0
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    with _damage(name), source.open(name) as file:
        while length <= facts.bytes and (chunk := file.read(CHUNK_BYTES)):
            digest.update(chunk)
            length += len(chunk)
            if target is not None:
                with target.open("ab") as sink:
                    sink.write(chunk)
    if (length, digest.hexdigest()) != (facts.bytes, facts.sha256):
        raise BundleError(f"{name} is damaged: size or SHA-256 differ from {MANIFEST}")


@contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        yield
    except WRONG_ZIP as error:
        raise BundleError(f"{name} cannot be read: {error}") from error


def _check_checkpoint(path: Path, manifest: Manifest) -> None:
    try:
        header = checkpoint_header(path)
    except CheckpointError as error:
        raise BundleError(f"the bundle is damaged: {error}") from error
    if (header.rounds_done, header.config_sha256) != (manifest.rounds_done, manifest.config_sha256):
        raise BundleError("the checkpoint of the bundle is of another run or round")


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
    for record in _records(incoming, limits):
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


def _records(incoming: Incoming, limits: Limits) -> Iterator[RoundRecord]:
    """The rounds, in order and complete."""
    expected = incoming.manifest.rounds_done
    bits, airtime_s, energy_j = 0, 0.0, 0.0
    with (incoming.folder / RECORDS).open("rb") as file:
        for index in range(expected):
            record = _record(file.readline(limits.line_bytes), index, incoming.config)
            # The store keeps sums, which may be impossible where each number is possible.
            bits += record.sent_bits
            airtime_s += record.airtime_s
            energy_j += record.energy_j
            if bits > INT64_MAX or not math.isfinite(airtime_s + energy_j):
                raise BundleError(
                    f"bits, seconds or joules add up to too much in line {index + 1} of {RECORDS}"
                )
            yield record
        if file.read(1):
            raise BundleError(f"{RECORDS} holds more than the {expected} rounds of the run")


def _record(line: bytes, index: int, config: RunConfig) -> RoundRecord:
    where = f"{RECORDS}, line {index + 1}"
    try:
        record = RoundRecord.model_validate_json(line)
        json.dumps(record.model_dump(mode="json"), allow_nan=False)
    except ValidationError as error:
        raise BundleError(f"{where} is no round: {_first(error)}") from error
    except ValueError as error:
        raise BundleError(f"{where} holds a number that is not finite") from error
    if record.round_index != index or len(record.devices) != config.fleet.devices:
        raise BundleError(f"{where} is not round {index} of {config.fleet.devices} devices")
    return record


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    field, sentence = plain_errors([found])[0]
    return f"{field}: {sentence}" if found["loc"] else sentence


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
