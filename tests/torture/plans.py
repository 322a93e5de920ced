"""The runs that are tortured, and what each gives when nobody disturbs it."""

from collections.abc import Callable
from functools import cache

from meshtune.backend.training.engine import Start, load_engine
from meshtune.engine.config import RunConfig
from meshtune.engine.records import RoundRecord
from tests.support.builders import tiny_config

# Every kind of state that a checkpoint holds: factors only, optimizer, masks and libraries, copies
# of neighbours, a mesh that moves, messages that get lost.
VARIANTS: tuple[dict[str, object], ...] = (
    {"method__kind": "so_lora", "method__library_every": 2},
    {"method__kind": "choco_gossip"},
    {
        "method__kind": "decaf_gossip",
        "fleet__devices": 3,
        "mobility__kind": "gauss_markov",
        "mobility__interval_s": 60.0,
        "topology__kind": "geometric",
        "topology__radius_m": 200.0,
        "topology__range_m": 120.0,
    },
    {
        "method__kind": "lora_gossip",
        "fleet__devices": 3,
        "channel__kind": "radio",
        "channel__bandwidth_hz": 1e5,
        "topology__radius_m": 900.0,
    },
    {"method__kind": "ffa_gossip", "churn__leave_prob": 0.3, "fleet__devices": 3},
    {"method__kind": "lori"},
)


def plan(number: int, rounds: int) -> RunConfig:
    """The config of the run with this number; they repeat."""
    kind = number % len(VARIANTS)
    return tiny_config(
        name=f"torture {kind}",
        rounds=rounds,
        seed=kind,
        training__local_steps=1,
        evaluation__every_rounds=8,
        **VARIANTS[kind],
    )


def twins() -> Callable[[RunConfig], list[RoundRecord]]:
    """Undisturbed records of a config, without the time they took; each is trained once."""
    start: Start = load_engine()

    @cache
    def twin(text: str) -> list[RoundRecord]:
        config = RunConfig.model_validate_json(text)
        done = start(config, None).rounds(lambda _progress: None)
        return [finished.record.model_copy(update={"wall_s": 0.0}) for finished in done]

    return lambda config: twin(config.model_dump_json())
