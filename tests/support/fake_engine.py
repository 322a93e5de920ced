"""An engine without torch: counts. Its records depend on all rounds before, as real ones do."""

import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from meshtune.backend.training.engine import Check, Finished, Start, Training
from meshtune.engine.config import RunConfig
from meshtune.engine.errors import CheckpointError, ConfigMismatch, NumericsError
from meshtune.engine.records import RoundRecord
from tests.support.builders import sample_provenance, sample_record

STEP_S = 0.02


def load() -> Start:
    """The engine; what a run does is in its name."""
    return _start


def load_and_break() -> Start:
    """An engine that cannot be loaded."""
    raise ImportError("no such engine")


def uninterrupted(config: RunConfig) -> list[RoundRecord]:
    """What this engine gives when nobody disturbs it, without the time it took."""
    rounds = _rounds(config, 0, 1, lambda _progress: None, step_s=0.0)
    return [done.record.model_copy(update={"wall_s": 0.0}) for done in rounds]


def _start(config: RunConfig, checkpoint: Path | None) -> Training:
    if config.name == "misfit":
        raise ConfigMismatch("adapter.rank is above the width")
    done, total = _load(checkpoint) if checkpoint else (0, 1)
    return Training(sample_provenance(), partial(_rounds, config, done, total))


def _rounds(
    config: RunConfig, done: int, total: int, check: Check, step_s: float = STEP_S
) -> Iterator[Finished]:
    for index in range(done, config.rounds):
        while config.name == "gated" and not _gate(index).exists():
            check(0.0)
            time.sleep(STEP_S)
        for step in range(config.training.local_steps):
            check(step / config.training.local_steps)
            time.sleep(step_s)
        if index == 1:
            _misbehave(config.name)
        total = (total * 31 + config.seed + index) % 1_000_003
        record = sample_record(config, index, train_loss=float(total))
        if config.name != "unmixed":
            heard = tuple(link.model_copy(update={"delivered": True}) for link in record.links)
            record = record.model_copy(update={"links": heard})
        yield Finished(record, _saver(index + 1, total))


def _gate(index: int) -> Path:
    """The file without which a gated run does not train this round."""
    return Path(os.environ["MESHTUNE_STATE_DIR"]) / f"round-{index}"


def _misbehave(name: str) -> None:
    if name == "diverges":
        raise NumericsError(1, [0])
    if name == "bug":
        raise ZeroDivisionError("division by zero")
    if name == "deaf":
        time.sleep(600)


def _saver(done: int, total: int) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps([done, total]), encoding="utf-8")
        temporary.replace(path)

    return save


def _load(path: Path) -> tuple[int, int]:
    try:
        done, total = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path.name} cannot be read: {error}") from error
    return done, total
