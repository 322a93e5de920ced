"""The config tree: one text per config, bounds in words, changes by dotted name."""

import json

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, ValidationError

from meshtune.engine.config import (
    TASK_NAMES,
    Clusters,
    Drawn,
    Fleet,
    RunConfig,
    canonical_json,
    config_hash,
    plain_errors,
    with_values,
)
from meshtune.engine.fields import Part


def sentences(tree: dict[str, object]) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as refused:
        RunConfig.model_validate(tree)
    return plain_errors(refused.value.errors())


@given(
    devices=st.integers(1, 256),
    seed=st.integers(0, 2**31 - 1),
    tasks=st.lists(st.sampled_from(TASK_NAMES), min_size=1, max_size=9),
    method=st.sampled_from(["local", "lora_gossip", "so_lora"]),
    topology=st.sampled_from(["ring", "full", "star", "geometric"]),
    bandwidth_hz=st.floats(1e-3, 1e11),
)
def test_a_config_survives_json(devices, seed, tasks, method, topology, bandwidth_hz) -> None:
    config = RunConfig.model_validate(
        {
            "seed": seed,
            "fleet": {"devices": devices, "tasks": tasks},
            "method": {"kind": method},
            "topology": {"kind": topology},
            "channel": {"kind": "paper", "bandwidth_hz": bandwidth_hz},
        }
    )
    text = canonical_json(config)
    again = RunConfig.model_validate(json.loads(text))
    assert again == config
    assert canonical_json(again) == text
    assert config_hash(again) == config_hash(config)


def test_a_config_without_a_model_is_what_it_was() -> None:
    text = canonical_json(RunConfig())
    assert '"model"' not in text
    assert '"schema_version":1' in text
    old = "91e5bbde484c92ddf4d0437a489d441cb421488eda66cdc9e7ed0e55eddf6ecc"
    assert config_hash(RunConfig()) == old  # of the version before configs named a model
    for told in ({}, {"schema_version": 1}, {"schema_version": 2}, {"model": {}}):
        assert RunConfig.model_validate(told) == RunConfig()


def test_a_config_that_names_a_model_is_of_version_2_and_survives_json() -> None:
    config = with_values(RunConfig(), {"model.source": "folder", "model.path": "/tmp/llama"})
    assert config.schema_version == 2
    assert RunConfig.model_validate_json(canonical_json(config)) == config
    assert config_hash(config) != config_hash(RunConfig())
    back = with_values(config, {"model.source": "embedded", "model.path": ""})
    assert back == RunConfig()


def test_a_model_without_its_name_is_refused_at_the_field() -> None:
    with pytest.raises(ValidationError) as refused:
        RunConfig.model_validate({"model": {"source": "hub"}})
    (found,) = plain_errors(refused.value.errors(), RunConfig)
    assert found == (
        "model.path",
        "model.source is hub but model.path is empty; give it owner/name",
    )


def test_another_value_is_another_hash() -> None:
    assert config_hash(RunConfig(seed=1)) != config_hash(RunConfig(seed=2))


def test_the_default_config_is_valid_and_immutable() -> None:
    config = RunConfig()
    with pytest.raises(ValidationError):
        config.rounds = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("tree", "field", "words"),
    [
        ({"rounds": 0}, "rounds", "greater than or equal to 1 (got 0)"),
        ({"channel": {"kind": "paper", "bandwidth_hz": -5.0}}, "channel.bandwidth_hz", "got -5.0"),
        (
            {"channel": {"kind": "paper", "bandwidth_hz": float("nan")}},
            "channel.bandwidth_hz",
            "must be a finite number, not nan",
        ),
        ({"channel": {"kind": "ideal", "loss": 1}}, "channel.loss", "there is no such field"),
        ({"fleet": {"devices": 0}}, "fleet.devices", "greater than or equal to 1"),
        ({"fleet": {"tasks": []}}, "fleet.tasks", "at least 1"),
        ({"fleet": {"tasks": ["cooking"]}}, "fleet.tasks.0", "(got 'cooking')"),
        ({"method": {"kind": "so_lora", "density": 0}}, "method.density", "greater than 0"),
        ({"name": "a\nb"}, "name", "line break"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(tree, field: str, words: str) -> None:
    ((said_field, said),) = sentences(tree)
    assert said_field == field
    assert words in said


def drawn(positions: list[tuple[float, float]], links: list[tuple[int, int]]) -> dict[str, object]:
    places = [{"x_m": x, "y_m": y} for x, y in positions]
    return {
        "fleet": {"devices": len(positions)},
        "topology": {"kind": "drawn", "positions": places, "links": links},
    }


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (drawn([(0, 0), (0, 0)], []), "devices 0 and 1 are in one place (0 m, 0 m)"),
        (drawn([(0, 0), (1, 0)], [(1, 1)]), "device 1 is linked to itself"),
        (drawn([(0, 0), (1, 0)], [(0, 2)]), "link 0-2 names a device that is not drawn"),
        (drawn([(0, 0), (1, 0)], [(0, 1), (1, 0)]), "link 1-0 is drawn twice"),
    ],
)
def test_a_drawing_that_cannot_be_is_refused(tree, words: str) -> None:
    ((field, said),) = sentences(tree)
    assert field == "topology"
    assert words in said


def test_a_drawing_places_as_many_devices_as_take_part() -> None:
    ((_, said),) = sentences(drawn([(0, 0), (1, 0)], []) | {"fleet": {"devices": 3}})
    assert "fleet.devices is 3" in said
    assert "places 2" in said


def test_there_are_no_more_clusters_than_devices() -> None:
    tree = {"fleet": {"devices": 2}, "topology": {"kind": "clusters", "by": "place"}}
    ((_, said),) = sentences(tree)
    assert "topology.clusters is 4 but fleet.devices is 2" in said


def test_a_change_reaches_its_field_and_nothing_else() -> None:
    changed = with_values(RunConfig(), {"channel.bandwidth_hz": 1e6, "rounds": 3})
    assert changed.rounds == 3
    assert changed.channel.bandwidth_hz == 1e6
    assert with_values(changed, {"channel.bandwidth_hz": 20e6, "rounds": 20}) == RunConfig()


def test_a_new_kind_drops_the_fields_of_the_old_one() -> None:
    start = with_values(RunConfig(), {"topology.range_m": 5.0})
    changed = with_values(start, {"topology.clusters": 2, "topology.kind": "clusters"})
    assert changed.topology == Clusters(clusters=2)


def test_a_change_to_nothing_is_refused() -> None:
    with pytest.raises(KeyError, match=r"nothing\.here"):
        with_values(RunConfig(), {"nothing.here": 1})


def test_tasks_are_dealt_in_turn() -> None:
    fleet = Fleet(devices=5, tasks=("addition", "reading"))
    assert [fleet.task_of(i) for i in range(5)] == ["addition", "reading"] * 2 + ["addition"]
    assert fleet.present_tasks() == ("reading", "addition")
    assert fleet.held_tasks() == (1, 0, 1, 0, 1)
    assert Fleet(devices=1, tasks=("addition", "reading")).present_tasks() == ("addition",)


def parts(model: type[BaseModel] = Part) -> list[type[BaseModel]]:
    found = [model, *(part for child in model.__subclasses__() for part in parts(child))]
    return [part for part in found if part.__module__.startswith("meshtune.engine.config")]


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.__name__)
def test_every_physical_field_tells_its_unit(part: type[BaseModel]) -> None:
    units = {
        "_m_s": "m/s",
        "_hz": "Hz",
        "_m": "m",
        "_s": "s",
        "_dbm": "dBm",
        "_db": "dB",
        "_w": "W",
    }
    units |= {"_prob": "probability", "_bits": "bit"}
    for name, schema in part.model_json_schema().get("properties", {}).items():
        ending = next((ending for ending in units if name.endswith(ending)), None)
        if ending is not None:
            assert schema["unit"] == units[ending], name


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.__name__)
def test_every_field_that_a_form_shows_has_title_and_help(part: type[BaseModel]) -> None:
    for name, field in part.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        if name in {"kind", "schema_version"} or nested or field.discriminator:
            continue  # a chooser says what the chosen kind is
        assert field.title, name
        assert field.description or name in {"x_m", "y_m"}, name


def test_the_drawing_of_the_default_is_drawable() -> None:
    assert len(Drawn().positions) == 2


def test_a_disc_smaller_than_a_centimetre_is_refused_at_its_field() -> None:
    with pytest.raises(ValidationError, match="radius_m"):
        RunConfig.model_validate({"topology": {"kind": "grid", "radius_m": 5e-324}})
