"""`python -m meshtune.engine.reproduce.preset_results [PRESET ...]`: run presets, store results.

Without names it runs those whose stored result is missing or of another config.
"""

import sys
import time
from itertools import islice
from pathlib import Path

from meshtune.engine.config import RunConfig, config_hash
from meshtune.engine.presets import load_preset, preset_names
from meshtune.engine.presets.stored import StoredResult, stored_result
from meshtune.engine.records import RoundRecord
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state, provenance

FOLDER = Path(__file__).parents[1] / "presets" / "results"
DIGITS = 5


def recorded(config: RunConfig, rounds: int | None = None) -> StoredResult:
    """The result of a run of `config`, or of its first rounds."""
    began = time.monotonic()
    world = build_world(config)
    played = islice(simulate(world, initial_state(world)), rounds)
    records = [record for _, record in played]
    evaluated = [record for record in records if record.accuracy_own is not None]
    bits = airtime_s = 0.0
    costs: dict[int, tuple[int, float]] = {}
    for record in records:
        bits, airtime_s = bits + record.sent_bits, airtime_s + record.airtime_s
        costs[record.round_index] = (int(bits), float(f"{airtime_s:.6g}"))
    return StoredResult(
        config_sha256=config_hash(config),
        seed=config.seed,
        round=tuple(record.round_index + 1 for record in evaluated),
        accuracy_own=tuple(_short(record.accuracy_own) or 0.0 for record in evaluated),
        accuracy_all=tuple(_short(record.accuracy_all) or 0.0 for record in evaluated),
        before_exchange=tuple(
            _short(record.extra.get("accuracy_own_before_exchange")) for record in evaluated
        ),
        bits=tuple(costs[record.round_index][0] for record in evaluated),
        airtime_s=tuple(costs[record.round_index][1] for record in evaluated),
        tasks=_task_means(evaluated[-1]),
        wall_s=round(time.monotonic() - began, 1),
        provenance=provenance(world),
    )


def _task_means(record: RoundRecord) -> dict[str, float]:
    accuracy: dict[str, list[float]] = {}
    for score in record.scores:
        accuracy.setdefault(score.task, []).append(score.accuracy)
    return {task: round(sum(values) / len(values), DIGITS) for task, values in accuracy.items()}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def is_stale(name: str) -> bool:
    """Whether the stored result of a preset is missing or of another config."""
    known = stored_result(name)
    return known is None or known.config_sha256 != config_hash(load_preset(name).config)


def main() -> None:
    """Run and store."""
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or [name for name in preset_names() if is_stale(name)]:
        result = recorded(load_preset(name).config)
        text = result.model_dump_json(indent=None)
        (FOLDER / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
        last = result.accuracy_all[-1]
        sys.stdout.write(f"{name}: {100 * last:.1f} % on all tasks, {result.wall_s:.0f} s\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
