"""A field that a form may leave out changes nothing that the engine gives."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from meshtune.engine.config import RunConfig
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

RADIO: dict[str, Any] = {"channel__kind": "radio"}
FULL: dict[str, Any] = {"method__kind": "full_gossip"}
SO_LORA: dict[str, Any] = {"method__kind": "so_lora"}
# The field, what makes it idle, and another value of it than its default.
IDLE: list[tuple[str, dict[str, Any], Any]] = [
    ("model.path", {}, "models/mine"),
    ("model.sha256", {}, "0" * 64),
    ("fleet.declined", {}, 0.5),
    ("method.density_by", {**SO_LORA, "method__density": 1.0}, "spectral"),
    ("method.gate_level", {**SO_LORA, "method__gate": "prompt_loss"}, "token"),
    ("method.gate_level", {**SO_LORA, "method__gate": "oracle"}, "token"),
    ("method.gate_level", {**SO_LORA, "method__gate": "none"}, "token"),
    ("method.gate_blend", {**SO_LORA, "method__gate": "oracle"}, "soft"),
    ("method.gate_blend", {**SO_LORA, "method__gate": "none"}, "soft"),
    ("method.top_ranks_over", SO_LORA, "expert"),
    ("method.mask_warmup_steps", {"method__kind": "lori"}, 3),
    ("adapter.rank", FULL, 4),
    ("adapter.rank", {"method__kind": "oracle_experts"}, 4),
    ("adapter.alpha", FULL, 3.0),
    ("adapter.alpha", {"method__kind": "oracle_experts"}, 3.0),
    *[
        ("adapter.places", {"method__kind": kind}, "bitmap")
        for kind in ("local", "lora_gossip", "ffa_gossip", "decaf_gossip", "full_gossip",
                     "oracle_experts", "centralised")
    ],
    ("topology.clusters", {"topology__kind": "clusters"}, 1),
    ("churn.return_prob", {}, 0.1),
    ("channel.shadowing", {**RADIO, "channel__path_loss__kind": "free_space"}, "none"),
    ("channel.path_loss.shadowing_db",
     {**RADIO, "channel__path_loss__kind": "log_distance", "channel__shadowing": "none"}, 1.0),
    ("channel.path_loss.decorrelation_m",
     {**RADIO, "channel__path_loss__kind": "log_distance", "channel__shadowing": "none"}, 1.0),
    ("channel.access.interference_range_m", {**RADIO, "channel__access__kind": "tdma"}, 3.0),
    ("channel.duplex", {**RADIO, "channel__access__kind": "tdma"}, "half"),
    ("channel.tries", {**RADIO, "channel__deadline_s": 0.01}, 8),
]  # fmt: skip


# Time, and what a record tells about the frozen layers only because it was worked out.
BESIDE: Any = {"wall_s": True, "layers": {"__all__": {"entropy"}}}


def played(config: RunConfig) -> list[dict[str, Any]]:
    world = build_world(config)
    steps = simulate(world, initial_state(world))
    return [record.model_dump(exclude=BESIDE) for _, record in steps]


@pytest.mark.parametrize(("field", "idle", "other"), IDLE)
def test_an_idle_field_changes_nothing(field: str, idle: dict[str, Any], other: Any) -> None:
    changed = {**idle, field.replace(".", "__"): other}
    assert tiny_config(**changed) != tiny_config(**idle)
    assert played(tiny_config(**changed)) == played(tiny_config(**idle))


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType, tuple):
        for inner in get_args(annotation):
            yield from models(inner)


def ruled(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below a model that has a rule, by its dotted name."""
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and isinstance(extra.get("matters_if"), dict):
            yield f"{path}{name}", extra["matters_if"]  # type: ignore[misc]
        for inner in models(info.annotation):
            yield from ruled(inner, f"{path}{name}.")


def test_every_rule_is_held_up_to_the_engine() -> None:
    assert {field for field, _ in ruled(RunConfig)} == {field for field, *_ in IDLE}


def names_of(model: type[BaseModel], path: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield f"{path}{name}"
        for inner in models(info.annotation):
            yield from names_of(inner, f"{path}{name}.")


def test_every_rule_names_a_field_there_is() -> None:
    names = set(names_of(RunConfig, ""))
    for field, rule in ruled(RunConfig):
        outwards = field.split(".")[:-1]
        scopes = [".".join([*outwards[:n], rule["field"]]) for n in range(len(outwards), -1, -1)]
        assert names & set(scopes), (field, rule)
