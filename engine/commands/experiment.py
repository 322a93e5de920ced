"""The experiment that a command is about: a preset or a file, a mesh, and changes."""

import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from meshtune.engine.commands.console import Refused
from meshtune.engine.config import RunConfig, no_such_field, plain_errors, with_values
from meshtune.engine.errors import PresetNotFound
from meshtune.engine.naming import changed_name, flat
from meshtune.engine.presets import load_preset, preset_names, read_config_tree
from meshtune.engine.texts import read_text


def chosen_config(
    experiment: str, changes: Sequence[str], topology: Path | None = None
) -> RunConfig:
    """The config of a preset or a file, with the mesh of another file and the `--set` changes.

    Raises:
        PresetNotFound: neither a preset nor a file has this name.
        ConfigFileError: the file cannot be read.
        Refused: a field or value is wrong, or the file holds no mesh.
    """
    values = dict(parsed_change(change) for change in changes)
    drawn = {} if topology is None else mesh_values(topology)
    with plain_refusals():
        if experiment in preset_names():
            config = load_preset(experiment).config
        elif _names_a_file(experiment):
            config = RunConfig.model_validate(read_config_tree(Path(experiment)))
        else:
            raise PresetNotFound(experiment, preset_names())
        changed = with_values(config, drawn) if drawn else config
        changed = with_values(changed, values) if values else changed
    if "name" in values:
        return changed
    before, after = (flat(each.model_dump(mode="json")) for each in (config, changed))
    return changed.model_copy(update={"name": changed_name(config.name, before, after)})


def mesh_values(path: Path) -> dict[str, Any]:
    """The config fields that take the mesh of a file: topology, devices, and tasks if it has any.

    Raises:
        Refused: the file cannot be read or holds no mesh.
    """
    from meshtune.engine.topology.files import drawn_from_text

    try:
        found = drawn_from_text(read_text(path))
    except UnicodeDecodeError as error:
        raise Refused(f"cannot read {path}: it is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise Refused(f"{path}: {error}") from error
    except RecursionError:
        raise Refused(f"{path} is nested too deeply to be a mesh") from None
    for note in found.notes:
        print(f"{path}: {note}", file=sys.stderr)
    values: dict[str, Any] = {
        "topology": found.drawn.model_dump(mode="json"),
        "fleet.devices": len(found.drawn.positions),
    }
    return values if found.tasks is None else {**values, "fleet.tasks": list(found.tasks)}


@contextmanager
def plain_refusals() -> Iterator[None]:
    """Turn what is wrong with a config into sentences.

    Raises:
        Refused: a field or value is wrong.
    """
    try:
        yield
    except ValidationError as error:
        found = plain_errors(error.errors(), RunConfig)
        lines = (f"{field}: {sentence}" for field, sentence in found)
        raise Refused("\n".join(lines)) from error
    except KeyError as error:
        field = str(error.args[0])
        raise Refused(f"{field}: {no_such_field(RunConfig, field.split('.'))}") from error


def parsed_change(change: str) -> tuple[str, Any]:
    """Field and value of `a.b=c`; the value is TOML, or plain text if it is not TOML."""
    field, equals, text = change.partition("=")
    field = field.strip()
    if not (field and equals):
        raise Refused(f"--set {change}: write it as FIELD=VALUE, e.g. --set rounds=5")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return field, text
    except RecursionError:
        raise Refused(f"--set {field}: the value is nested too deeply") from None
    value = parsed["value"]
    # A line break would smuggle in further keys; a date is no value of any field.
    plain = len(parsed) == 1 and isinstance(value, str | int | float | list | dict)
    return field, value if plain else text


def _names_a_file(experiment: str) -> bool:
    path = Path(experiment)
    return path.suffix == ".toml" or len(path.parts) > 1 or path.exists()
