"""What a bundle says, believed only where it fits: hashes, manifest, config, checkpoint, rounds."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from meshtune.backend.archive.bundle import (
    CHECKPOINT,
    CHUNK_BYTES,
    MANIFEST,
    RECORDS,
    BundleError,
    BundleTooLarge,
    FileFacts,
    Manifest,
    canonical_sha256,
    inputs_of,
)
from meshtune.backend.archive.bundle_source import Limits, Source, damage_of, shown
from meshtune.engine.config import RunConfig, plain_errors
from meshtune.engine.errors import CheckpointError
from meshtune.engine.peft_io import checkpoint_header
from meshtune.engine.records import RoundRecord, RunStatus

INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class Incoming:
    """A checked bundle. `folder` holds the files that are needed, each with the right hash."""

    manifest: Manifest
    config: RunConfig
    folder: Path


def checked(source: Source, staging: Path, limits: Limits) -> Incoming:
    """All of a bundle that a run needs, copied to `staging` and found to fit together.

    Raises:
        BundleError: something in it does not.
    """
    manifest = _manifest(source, limits)
    known = set(manifest.files) | {MANIFEST}
    if set(source.sizes) != known:
        which = shown(min(set(source.sizes) ^ known))
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
    with damage_of(MANIFEST), source.open(MANIFEST) as file:
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
    with damage_of(name), source.open(name) as file:
        while length <= facts.bytes and (chunk := file.read(CHUNK_BYTES)):
            digest.update(chunk)
            length += len(chunk)
            if target is not None:
                with target.open("ab") as sink:
                    sink.write(chunk)
    if (length, digest.hexdigest()) != (facts.bytes, facts.sha256):
        raise BundleError(f"{name} is damaged: size or SHA-256 differ from {MANIFEST}")


def _check_checkpoint(path: Path, manifest: Manifest) -> None:
    try:
        header = checkpoint_header(path)
    except CheckpointError as error:
        raise BundleError(f"the bundle is damaged: {error}") from error
    if (header.rounds_done, header.config_sha256) != (manifest.rounds_done, manifest.config_sha256):
        raise BundleError("the checkpoint of the bundle is of another run or round")


def records(incoming: Incoming, limits: Limits) -> Iterator[RoundRecord]:
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
