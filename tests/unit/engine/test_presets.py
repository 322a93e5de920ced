"""Shipped experiments and config files."""

import re
import tomllib
from importlib.resources import files
from itertools import groupby
from pathlib import Path

import pytest

from meshtune.engine.config import RunConfig
from meshtune.engine.errors import ConfigFileError, PresetNotFound
from meshtune.engine.methods.registry import METHODS
from meshtune.engine.presets import load_preset, preset_names, read_config_tree


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_introduces_itself(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert preset.config.rounds >= 1
    assert preset.title
    assert preset.question.endswith("?")
    assert preset.watch.endswith(".")
    assert re.search(r"\d", preset.duration)


@pytest.mark.parametrize("name", preset_names())
def test_the_header_of_a_preset_says_how_to_run_it(name: str) -> None:
    text = (files("meshtune.engine.presets") / f"{name}.toml").read_text(encoding="utf-8")
    header = text[: text.index("[about]")]
    assert all(line.startswith("#") for line in header.splitlines())
    assert f"# Command: meshtune run {name}\n" in header


def test_there_is_a_preset_for_a_quick_look() -> None:
    assert preset_names()[0] == "quick"


def test_presets_of_one_group_stand_together() -> None:
    groups = [load_preset(name).group for name in preset_names()]
    assert [group for group, _ in groupby(groups)] == list(dict.fromkeys(groups))


def test_every_method_has_a_preset() -> None:
    kinds = set(METHODS)
    assert {load_preset(name).config.method.kind for name in preset_names()} == kinds


def test_an_unknown_preset_names_those_that_exist() -> None:
    with pytest.raises(PresetNotFound, match="quick"):
        load_preset("nope")


@pytest.mark.parametrize("text", ["rounds = 3\n", "[about]\ntitle = 'x'\n[config]\nrounds = 3\n"])
def test_a_config_file_is_a_config_or_holds_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    assert RunConfig.model_validate(read_config_tree(file)).rounds == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_config_file_is_read_whatever_editor_wrote_it(
    tmp_path: Path, encoding: str, end: str
) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(end.join(['name = "é"', "rounds = 2", ""]).encode(encoding))
    assert read_config_tree(file) == {"name": "é", "rounds": 2}


def test_a_config_file_in_another_encoding_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes('name = "é"'.encode("latin-1"))
    with pytest.raises(ConfigFileError, match="save it as UTF-8"):
        read_config_tree(file)


def test_a_config_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("config = 3\n")
    assert tomllib.loads(file.read_text())
    with pytest.raises(ConfigFileError, match="must be a table"):
        read_config_tree(file)
