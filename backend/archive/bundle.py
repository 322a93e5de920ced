"""A run as a folder or zip file from which another machine rebuilds it.

The same run gives the same bytes. What belongs to this place alone, its number and times, is in
`Manifest.here`; a run that was imported and is exported again differs in nothing else.
"""

import hashlib
import json
import re
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from meshtune.backend.archive.tables import stored_rounds, table_lines
from meshtune.backend.replies import runs as replies
from meshtune.backend.schemas.runs import RunDetail, Title
from meshtune.backend.settings import Settings
from meshtune.backend.training.artefacts import Artefacts, open_artefacts
from meshtune.db import rounds, runs
from meshtune.db.columns import storable
from meshtune.db.errors import StoreUnavailable
from meshtune.db.models import Run, RunEvent
from meshtune.db.session import reading
from meshtune.engine.config import GainTable, RadioChannel, RunConfig, Trace
from meshtune.engine.errors import CheckpointError
from meshtune.engine.peft_io import checkpoint_header, peft_folders
from meshtune.engine.records import ENDED, Provenance, RoundRecord, RunStatus
from meshtune.engine.topology.traces import SUFFIXES

MANIFEST = "manifest.json"
RECORDS = "records.jsonl"
CHECKPOINT = "checkpoint.safetensors"
CONFIG = "config.toml"
TABLE = "table.csv"
README = "README.txt"
# Every name that a bundle can hold; whatever else a file is called, it is never written anywhere.
MEMBER = re.compile(
    r"manifest\.json|records\.jsonl|checkpoint\.safetensors|config\.toml|table\.csv|README\.txt"
    r"|adapters/device-[0-9]{3}/adapter_(config\.json|model\.safetensors)"
    r"|inputs/(gains/[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.(npz|csv)"
    r"|traces/[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.(csv|xml|tcl|txt))"
)
CHUNK_BYTES = 1 << 20
LARGEST_BYTES = 8 << 30  # of all files together, unpacked
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the first that zip files know: bytes must not tell the day
TRIES = 3  # a run that trains may drop a checkpoint while it is being read

TEXT_MAX = 4000
Text = Annotated[str, Field(max_length=TEXT_MAX, pattern=r"^[^\x00]*$")]
Moment = Annotated[AwareDatetime, AfterValidator(storable)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BundleError(Exception):
    """A bundle that cannot be made, read or used; the message says why and what to do."""


class BundleTooLarge(BundleError):
    """A bundle above a limit."""


class Item(BaseModel):
    """Base of the parts of a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileFacts(Item):
    """What a file of the bundle must be."""

    bytes: int = Field(ge=0)
    sha256: Hash


class EventFacts(Item):
    """Something that happened to the run."""

    at: Moment
    kind: Text
    actor: Text
    detail: Text | None


class Here(Item):
    """What the store that made the bundle says of the run, and another one would not."""

    run_id: int = Field(ge=1)
    status: RunStatus
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    events: tuple[EventFacts, ...]


class Manifest(Item):
    """What a bundle holds. `outcome` is None for a run that has not ended."""

    kind: Literal["meshtune-bundle"] = "meshtune-bundle"
    version: Literal[1] = 1
    name: Title
    note: Text | None
    seed: int
    rounds_done: int = Field(ge=0)
    rounds_total: int = Field(ge=1)
    outcome: RunStatus | None
    reason: Text | None
    config: dict[str, Any]
    config_sha256: Hash
    provenance: Provenance | None
    missing: tuple[Text, ...] = Field(description="Files that the run had and this store lost")
    files: dict[Text, FileFacts]
    here: Here


def canonical_sha256(config: dict[str, Any]) -> str:
    """As `config_hash` of the engine, of a config as any version stored it."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# Writing


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment of the store."""

    run: Run
    detail: RunDetail
    events: list[RunEvent]


def export_folder(store: Engine, settings: Settings, run_id: int, out: Path) -> None:
    """Write the bundle as a folder, which appears complete or not at all.

    Raises:
        BundleError: there is something else at `out`.
        RunNotFound: there is no such run.
        StoreUnavailable: it changed meanwhile, or its checkpoint cannot be reached.
        OSError: `out` cannot be written.
    """
    as_folder(out, lambda folder: _fill(folder, store, settings, run_id))


def export_zip(store: Engine, settings: Settings, run_id: int, out: Path) -> None:
    """Write the bundle as a zip file, which appears complete or not at all.

    Raises:
        RunNotFound: there is no such run.
        StoreUnavailable: it changed meanwhile, or its checkpoint cannot be reached.
        OSError: `out` cannot be written.
    """
    as_zip(out, lambda folder: _fill(folder, store, settings, run_id))


def as_folder(out: Path, fill: Callable[[Path], object]) -> None:
    """Have `fill` make a folder, which appears complete or not at all.

    Raises:
        BundleError: there is something else at `out`.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BundleError(f"{out} exists; choose another --out, or remove it first")
    with TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}.") as near:
        whole = Path(near) / "whole"
        fill(whole)
        whole.replace(out)


def as_zip(out: Path, fill: Callable[[Path], object]) -> None:
    """Have `fill` make a folder and pack it; the file appears complete or not at all."""
    with TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}.") as near:
        folder, packed = Path(near) / "whole", Path(near) / "whole.zip"
        fill(folder)
        with zipfile.ZipFile(packed, "w") as archive:
            for path in _files(folder):
                _pack(archive, path, path.relative_to(folder).as_posix())
        packed.replace(out)


def bundle_bytes(store: Engine, settings: Settings, run_id: int) -> int:
    """About how large the bundle will be, unpacked, without making it.

    Raises:
        RunNotFound: there is no such run.
    """
    run = _snapshot(store, run_id).run
    checkpoint = 0
    if run.checkpoint:
        with open_artefacts(settings).fetched(run.checkpoint) as path:
            checkpoint = path.stat().st_size if path.is_file() else 0
    with reading(store) as session:
        last = rounds.listed(session, run_id, after=run.rounds_done - 2, limit=1)
    record = len(last[0].model_dump_json()) if last else 0
    return 2 * checkpoint + 2 * record * run.rounds_done


def _fill(folder: Path, store: Engine, settings: Settings, run_id: int) -> None:
    """Every file of the bundle; the manifest last, as it names the others."""
    folder.mkdir()
    for _ in range(TRIES):
        taken = _snapshot(store, run_id)
        found = _add_checkpoint(folder, open_artefacts(settings), taken)
        if found or _snapshot(store, run_id).run.checkpoint == taken.run.checkpoint:
            break
    detail = taken.detail
    missing = [] if found or not taken.run.checkpoint else [CHECKPOINT]
    missing += _add_inputs(folder, settings.state_dir, detail.config)
    text = tomli_w.dumps(detail.config.model_dump(mode="json"))
    _write(folder / CONFIG, [text])
    _write(folder / RECORDS, (r.model_dump_json() + "\n" for r in _whole(store, detail)))
    _write(folder / TABLE, table_lines(detail, _whole(store, detail)))
    _write(folder / README, [_readme(detail, missing)])
    manifest = _manifest(taken, _facts(folder), missing)
    told = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True)
    _write(folder / MANIFEST, [told + "\n"])


def _whole(store: Engine, run: RunDetail) -> Iterator[RoundRecord]:
    """Every round of the snapshot, or an error: a worker may take the last ones back meanwhile."""
    count = 0
    for record in stored_rounds(store, run):
        count += 1
        yield record
    if count != run.rounds_done:
        raise StoreUnavailable(f"run {run.id} changed while it was exported; try again in a moment")


def _snapshot(store: Engine, run_id: int) -> Snapshot:
    with reading(store) as session:
        run = runs.get(session, run_id)
        return Snapshot(run, replies.detail(session, run), runs.events(session, run_id))


def _add_checkpoint(folder: Path, artefacts: Artefacts, taken: Snapshot) -> bool:
    """Checkpoint and adapters, if the file is there and is the run's own."""
    if taken.run.checkpoint is None:
        return False
    copy = folder / CHECKPOINT
    with artefacts.fetched(taken.run.checkpoint) as path:
        try:
            shutil.copyfile(path, copy)
        except FileNotFoundError:
            return False
    with suppress(CheckpointError):
        if checkpoint_header(copy).rounds_done == taken.run.rounds_done:
            for device, files in enumerate(peft_folders(copy, taken.detail.config)):
                home = folder / "adapters" / f"device-{device:03d}"
                home.mkdir(parents=True)
                for name, content in files.items():
                    (home / name).write_bytes(content)
            return True
    shutil.rmtree(folder / "adapters", ignore_errors=True)
    copy.unlink()
    return False


def inputs_of(config: RunConfig) -> list[str]:
    """The files of others that a run reads, below its state folder, without suffix."""
    channel, mobility = config.channel, config.mobility
    found = []
    if isinstance(channel, RadioChannel) and isinstance(channel.path_loss, GainTable):
        found.append(f"inputs/gains/{channel.path_loss.name}")
    if isinstance(mobility, Trace):
        found.append(f"inputs/traces/{mobility.name}")
    return found


def _add_inputs(folder: Path, state_dir: Path, config: RunConfig) -> list[str]:
    """Copy them; the names of those that are gone."""
    gone = []
    for name in inputs_of(config):
        suffixes = (".npz", ".csv") if name.startswith("inputs/gains/") else SUFFIXES
        paths = [state_dir / f"{name}{suffix}" for suffix in suffixes]
        held = next((path for path in paths if path.is_file()), None)
        if held is None:
            gone.append(name)
            continue
        target = folder / f"{name}{held.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(held, target)
    return gone


def _manifest(taken: Snapshot, files: dict[str, FileFacts], missing: list[str]) -> Manifest:
    run, detail = taken.run, taken.detail
    return Manifest(
        name=run.name,
        note=_text(run.note),
        seed=run.seed,
        rounds_done=run.rounds_done,
        rounds_total=run.rounds_total,
        outcome=run.status if run.status in ENDED else None,
        reason=_text(run.reason) if run.status in ENDED else None,
        config=run.config,
        config_sha256=run.config_sha256,
        provenance=detail.provenance,
        missing=tuple(missing),
        files=files,
        here=Here(
            run_id=run.id,
            status=run.status,
            created_at=run.created_at,
            started_at=run.started_at,
            finished_at=run.finished_at,
            events=tuple(
                EventFacts(at=e.at, kind=e.kind, actor=e.actor, detail=_text(e.detail))
                for e in taken.events
            ),
        ),
    )


def _text(words: str | None) -> str | None:
    return words and words.replace("\0", "")[:TEXT_MAX]


def _readme(run: RunDetail, missing: list[str]) -> str:
    made = run.provenance
    under = f"Meshtune {made.meshtune}, torch {made.torch}" if made else "no version yet"
    lost = "".join(
        f"Missing, as the store that wrote this had lost it: {name}\n" for name in missing
    )
    return (
        f"{run.name}: {run.method}, seed {run.seed}, {run.rounds_done} of {run.rounds_total} "
        f"rounds, trained with {under}.\n{lost}\n"
        "Rebuild the run in another lab:   meshtune import THIS\n"
        "Check it to the bit there:        meshtune verify NUMBER\n"
        "Train it again without a lab:     meshtune run config.toml\n"
        "Use the adapter of a device:      peft.PeftModel.from_pretrained(model, "
        '"adapters/device-000")\n\n'
        "manifest.json   config, versions, times, events, SHA-256 of every file\n"
        "config.toml     the config, for people\n"
        "records.jsonl   every round, a JSON object per line\n"
        "table.csv       the same by round, device and task\n"
        "checkpoint.safetensors, adapters, inputs: only where the run has them\n"
    )


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(lines)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _facts(folder: Path) -> dict[str, FileFacts]:
    return {path.relative_to(folder).as_posix(): _fact(path) for path in _files(folder)}


def _fact(path: Path) -> FileFacts:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileFacts(bytes=path.stat().st_size, sha256=digest)


def _pack(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, ZIP_TIME)
    entry.create_system = 3  # Unix, wherever it is written
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    # Random mantissas do not shrink.
    dense = PurePosixPath(name).suffix in {".safetensors", ".npz"}
    entry.compress_type = zipfile.ZIP_STORED if dense else zipfile.ZIP_DEFLATED
    entry.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(entry, "w") as sink:
        shutil.copyfileobj(source, sink, CHUNK_BYTES)
