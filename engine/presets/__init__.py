"""Named experiments that ship with the package, one TOML file each."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from meshtune.engine.config import RunConfig
from meshtune.engine.errors import ConfigFileError, PresetNotFound
from meshtune.engine.texts import read_text

# Order of the gallery; other presets follow by name.
FIRST = (
    "quick",
    "so_lora",
    "lora_gossip",
    "ffa_gossip",
    "decaf_gossip",
    "choco_gossip",
    "lori",
    "full_gossip",
    "local",
    "centralised",
    "oracle_experts",
    "no_gate",
    "own_a",
    "one_a",
    "clusters",
    "one_cluster",
    "bad_channel",
    "moving_crowd",
    "straggler",
    "one_cluster_or_many",
    "real_model",
    "real_model_forgets",
)

DEPTH_MAX = 32  # tables and lists inside each other; a config needs a handful
TOO_DEEP = f"tables and lists are nested too deeply; a config has no more than {DEPTH_MAX} levels"


@dataclass(frozen=True)
class Preset:
    """A config with the words that introduce it."""

    name: str
    group: str
    title: str
    question: str
    watch: str
    duration: str
    config: RunConfig


def preset_names() -> list[str]:
    """Names of the shipped presets, in gallery order."""
    names = [
        entry.name.removesuffix(".toml")
        for entry in files("meshtune.engine.presets").iterdir()
        if entry.name.endswith(".toml")
    ]
    return sorted(names, key=lambda n: (FIRST.index(n) if n in FIRST else len(FIRST), n))


def load_preset(name: str) -> Preset:
    """The shipped preset `name`.

    Raises:
        PresetNotFound: no such preset ships.
    """
    if name not in preset_names():
        raise PresetNotFound(name, preset_names())
    tree = tomllib.loads(
        (files("meshtune.engine.presets") / f"{name}.toml").read_text(encoding="utf-8")
    )
    return Preset(name=name, config=RunConfig.model_validate(tree["config"]), **tree["about"])


def read_config_tree(path: Path) -> dict[str, Any]:
    """The config tree in a TOML file: either the whole file or its `[config]` table.

    Raises:
        ConfigFileError: the file cannot be read or is not TOML.
    """
    try:
        tree = tomllib.loads(read_text(path))
    except OSError as error:
        raise ConfigFileError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigFileError(f"{path} is not a UTF-8 text file; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigFileError(f"{path} is not valid TOML: {error}") from error
    except RecursionError:
        raise ConfigFileError(f"{path}: {TOO_DEEP}") from None
    if depth(tree) > DEPTH_MAX:
        raise ConfigFileError(f"{path}: {TOO_DEEP}")
    config = tree.get("config", tree)
    if not isinstance(config, dict):
        raise ConfigFileError(f"{path}: [config] must be a table")
    return config


def depth(tree: Any) -> int:
    """How many dictionaries and lists lie inside each other at most; walked without recursion."""
    level, found = [tree], 0
    while level := [node for node in level if isinstance(node, dict | list)]:
        found += 1
        level = [v for node in level for v in (node.values() if isinstance(node, dict) else node)]
    return found
