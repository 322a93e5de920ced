"""The engine as a child uses it: started from a config and a checkpoint, it gives rounds."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from meshtune.engine.config import RunConfig
from meshtune.engine.errors import AssetMissing
from meshtune.engine.records import Provenance, RoundRecord

Check = Callable[[float], None]


@dataclass(frozen=True)
class Finished:
    """A finished round and how to keep the state after it."""

    record: RoundRecord
    save: Callable[[Path], None]


@dataclass(frozen=True)
class Training:
    """A run ready to go on from where it stands."""

    provenance: Provenance
    rounds: Callable[[Check], Iterator[Finished]]


Start = Callable[[RunConfig, Path | None], Training]


def load_engine() -> Start:
    """The engine, imported: seconds of work that a spare process does before anybody clicks."""
    # Here and not at the top: the supervisor names this function and must stay light.
    from meshtune.engine.backbone.embedded import embedded_backbone  # noqa: PLC0415
    from meshtune.engine.checkpoint import load_state, save_state  # noqa: PLC0415
    from meshtune.engine.simulate import simulate  # noqa: PLC0415
    from meshtune.engine.world import build_world, initial_state, provenance  # noqa: PLC0415

    with suppress(AssetMissing):  # the run will say so; here it only warms the caches
        embedded_backbone()

    def start(config: RunConfig, checkpoint: Path | None) -> Training:
        world = build_world(config)
        state = load_state(world, checkpoint) if checkpoint else initial_state(world)

        def rounds(check: Check) -> Iterator[Finished]:
            for after, record in simulate(world, state, check=check):
                yield Finished(record, partial(save_state, world, after))

        return Training(provenance(world), rounds)

    return start
