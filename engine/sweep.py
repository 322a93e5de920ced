"""A sweep: one base config, the fields that vary, and seeds. Pure: gives configs, starts nothing.

Light, because the API, the command line and the dashboard read and write sweeps by this file.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    Tag,
    ValidationError,
    model_validator,
)

from meshtune.engine.config import RunConfig, no_such_field, plain_errors, with_values
from meshtune.engine.config.errors import misfit
from meshtune.engine.errors import EngineError, PresetNotFound
from meshtune.engine.fields import Finite, Part
from meshtune.engine.naming import NAME_MAX, field_word
from meshtune.engine.presets import load_preset, preset_names, read_config_tree
from meshtune.engine.rng import stream

CELLS_MAX = 1_000
DIGITS = 12  # of the values between two ends, so that 0.3 is not 0.30000000000000004
SEED_MAX = 2**31 - 1
OWN_FIELDS = {"name": "a run is named after its values", "seed": "write seeds = [0, 1, 2] instead"}
UNNAMED = "sweep"  # stands for the name where configs are compared
Values = dict[str, Any]  # dotted config field -> value
Seed = Annotated[StrictInt, Field(ge=0, le=SEED_MAX)]


class SweepRefused(EngineError):
    """A sweep that cannot be run; `field` is the place in its description."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field = field
        self.sentence = sentence


class Span(Part):
    """Values from one end to the other; drawn between them where the sweep is random."""

    model_config = ConfigDict(serialize_by_alias=True)

    start: Finite = Field(alias="from", strict=True, description="First value")
    to: Finite = Field(strict=True, description="Last value")
    steps: StrictInt = Field(
        5, ge=1, le=CELLS_MAX, description="Number of values, both ends counted; grids only"
    )
    scale: Literal["linear", "log"] = Field("linear", description="Even steps, or even ratios")
    whole: StrictBool = Field(False, description="Round to whole numbers, for fields that count")

    @model_validator(mode="after")
    def _log_has_no_zero(self) -> "Span":
        if self.scale == "log" and min(self.start, self.to) <= 0:
            raise misfit("from", "a log scale needs ends above 0; raise them or take linear")
        return self

    def at(self, share: float) -> float | int:
        """The value at `share` (0 to 1) of the way."""
        if self.scale == "log":
            low, high = math.log(self.start), math.log(self.to)
            value = math.exp(low * (1 - share) + high * share)
        else:
            value = self.start * (1 - share) + self.to * share
        return round(value) if self.whole else float(f"{value:.{DIGITS}g}")

    def values(self) -> list[Any]:
        """All steps, none twice."""
        shares = [i / (self.steps - 1) for i in range(self.steps)] if self.steps > 1 else [0.0]
        return list(dict.fromkeys(self.at(share) for share in shares))


def _form(given: Any) -> str | None:
    return (
        "range" if isinstance(given, dict | Span) else "list" if isinstance(given, list) else None
    )


Axis = Annotated[
    Annotated[list[JsonValue], Field(min_length=1), Tag("list")] | Annotated[Span, Tag("range")],
    Discriminator(
        _form,
        custom_error_type="no_axis",
        custom_error_message="give a list of values, or a range with from and to",
    ),
]


def _seeds_form(given: Any) -> str | None:
    if isinstance(given, list):
        return "list"
    return "count" if isinstance(given, int) and not isinstance(given, bool) else None


Seeds = Annotated[
    Annotated[StrictInt, Field(ge=1, le=SEED_MAX), Tag("count")]
    | Annotated[list[Seed], Field(min_length=1, max_length=CELLS_MAX), Tag("list")],
    Discriminator(
        _seeds_form,
        custom_error_type="no_seeds",
        custom_error_message="give a number of seeds, or a list of them",
    ),
]


class SweepSpec(Part):
    """What to vary: a base config, fields with their values, seeds."""

    name: str = Field(
        "sweep",
        min_length=1,
        max_length=NAME_MAX,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="What lists call the sweep; its runs are named after it and their values. The "
        "title of the preset if left out",
    )
    preset: str | None = Field(None, description="Preset to start from; the default config if none")
    base: dict[str, JsonValue] = Field(
        default_factory=dict, description="Config tree over the preset: what all cells share"
    )
    mode: Literal["grid", "list", "random"] = Field(
        "grid",
        description="grid: every combination of the axes; list: the rows; random: drawn from axes",
    )
    axes: dict[str, Axis] = Field(
        default_factory=dict, description="Dotted config field -> list of values, or a range"
    )
    rows: list[dict[str, JsonValue]] = Field(
        default_factory=list, max_length=CELLS_MAX, description="Mode list: values per cell"
    )
    samples: StrictInt = Field(
        10, ge=1, le=CELLS_MAX, description="Mode random: how many combinations to draw"
    )
    draw_seed: Seed = Field(0, description="Mode random: the same number draws the same values")
    seeds: Seeds | None = Field(
        None, description="A list, or n for seeds 0 to n - 1; the seed of the base if not given"
    )
    fresh: StrictBool = Field(False, description="Train also what the store already has")

    @model_validator(mode="before")
    @classmethod
    def _called_like_its_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "name" in given:
            return given
        preset = given.get("preset")
        if not isinstance(preset, str) or preset not in preset_names():
            return given
        return {**given, "name": load_preset(preset).title}

    @model_validator(mode="after")
    def _parts_fit(self) -> "SweepSpec":
        if self.mode == "list" and not self.rows:
            raise misfit("rows", "a sweep of mode list needs at least one row")
        if self.mode == "list" and self.axes:
            raise misfit("axes", "a sweep of mode list has rows; leave the axes out")
        if self.mode != "list" and self.rows:
            raise misfit("rows", 'rows need mode = "list"')
        if self.mode == "random" and not self.axes:
            raise misfit("axes", "a random sweep needs at least one axis to draw from")
        for field in (*self.axes, *(name for row in self.rows for name in row)):
            if field in OWN_FIELDS:
                raise misfit(f"axes.{field}", f"{field} is no axis: {OWN_FIELDS[field]}")
        _writable(self)
        return self


def _writable(spec: SweepSpec) -> None:
    # What is drawn at random may leave a value untried, so no config would refuse it.
    try:
        text = json.dumps(spec.model_dump(mode="python"), allow_nan=False, ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise misfit("axes", "every value must be finite and plain text") from error


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    values: Values
    seed: int
    config: RunConfig
    sha256: str  # of the config without its name


def read_spec(path: Path) -> SweepSpec:
    """The sweep in a TOML file; dotted names of fields need no quotes there.

    Raises:
        ConfigFileError: the file cannot be read or is not TOML.
        SweepRefused: it describes no sweep.
    """
    tree = read_config_tree(path)
    if isinstance(axes := tree.get("axes"), dict):
        tree["axes"] = dict(_leaves(axes))
    if isinstance(rows := tree.get("rows"), list):
        tree["rows"] = [dict(_leaves(row)) if isinstance(row, dict) else row for row in rows]
    try:
        return SweepSpec.model_validate(tree)
    except ValidationError as error:
        raise SweepRefused(*plain_errors(error.errors(), SweepSpec)[0]) from error


def base_config(spec: SweepSpec) -> RunConfig:
    """The config that all cells start from.

    Raises:
        SweepRefused: no such preset, or a field of the base is wrong.
    """
    try:
        begun = load_preset(spec.preset).config if spec.preset is not None else RunConfig()
    except PresetNotFound as error:
        raise SweepRefused("preset", str(error)) from error
    try:
        return with_values(begun, dict(_leaves(spec.base)))
    except ValidationError as error:
        field, sentence = plain_errors(error.errors(), RunConfig)[0]
        raise SweepRefused(f"base.{field}", sentence) from error
    except KeyError as error:
        field = str(error.args[0])
        raise SweepRefused(f"base.{field}", no_such_field(RunConfig, field.split("."))) from error


def cells(spec: SweepSpec) -> list[Cell]:
    """All cells, each a valid config: combinations in order, the seeds of one together.

    Raises:
        SweepRefused: too many cells, or the first one that is wrong, by axis and value.
    """
    base = base_config(spec)
    _bounded(spec)
    seeds = _seeds(spec, base)
    return [
        _cell(spec, base, values, seed, row)
        for row, values in enumerate(combinations(spec))
        for seed in seeds
    ]


def combinations(spec: SweepSpec) -> Iterator[Values]:
    """The values of each combination, in order, without seeds."""
    match spec.mode:
        case "list":
            yield from spec.rows
        case "grid":
            for values in itertools.product(*map(_listed, spec.axes.values())):
                yield dict(zip(spec.axes, values, strict=True))
        case "random":
            for sample in range(spec.samples):
                yield {
                    field: _drawn(axis, spec.draw_seed, field, sample)
                    for field, axis in spec.axes.items()
                }


def config_sha256(tree: Mapping[str, Any]) -> str:
    """SHA-256 of a config as JSON, without its name: what is the same experiment has the same.

    The name is made from the values, so two sweeps would name one experiment differently.
    """
    text = json.dumps({**tree, "name": UNNAMED}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def shown(value: Any) -> str:
    """A value as a name or a table has it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def run_name(name: str, values: Values) -> str:
    """Name of a run: the sweep's, then each field with its value."""
    parts = [f"{field_word(field)} {shown(value)}" for field, value in values.items()]
    text = " · ".join([name, *parts])
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain if len(plain) <= NAME_MAX else plain[: NAME_MAX - 1] + "…"


# Inside


def _cell(spec: SweepSpec, base: RunConfig, values: Values, seed: int, row: int) -> Cell:
    own: dict[str, Any] = {"seed": seed, "name": run_name(spec.name, values)}
    try:
        config = with_values(base, {**values, **own})
    except ValidationError as error:
        field, sentence = plain_errors(error.errors(), RunConfig)[0]
        raise _blamed(spec, values, row, field, sentence) from error
    except KeyError as error:
        field = str(error.args[0])
        sentence = no_such_field(RunConfig, field.split("."))
        raise _blamed(spec, values, row, field, sentence) from error
    return Cell(values, seed, config, config_sha256(config.model_dump(mode="json")))


def _blamed(spec: SweepSpec, values: Values, row: int, field: str, sentence: str) -> SweepRefused:
    """The refusal of a cell: which axis and value, and with which others."""
    place = f"rows.{row}" if spec.mode == "list" else "axes"
    guilty = next((axis for axis in values if _about(axis, field)), None)
    others = {axis: value for axis, value in values.items() if axis != guilty}
    named = ", ".join(f"{axis} = {shown(value)[:40]}" for axis, value in others.items())
    if guilty is None:
        return SweepRefused(place, f"with {named}, {field}: {sentence}")
    value = f"the value {shown(values[guilty])[:80]} does not work"
    together = f" with {named}" if named else ""
    return SweepRefused(f"{place}.{guilty}", f"{value}{together}: {sentence}")


def _about(axis: str, field: str) -> bool:
    return axis == field or axis.startswith(f"{field}.") or field.startswith(f"{axis}.")


def _bounded(spec: SweepSpec) -> None:
    match spec.mode:
        case "list":
            count = len(spec.rows)
        case "grid":
            count = math.prod(len(_listed(axis)) for axis in spec.axes.values())
        case "random":
            count = spec.samples
    seeds = spec.seeds if isinstance(spec.seeds, int) else len(spec.seeds or [0])
    if count * seeds > CELLS_MAX:
        raise SweepRefused(
            "seeds" if count <= 1 else "axes",
            f"{count:,} combinations with {seeds:,} seeds each make {count * seeds:,} cells, and "
            f"a sweep has at most {CELLS_MAX:,}; take fewer values or seeds",
        )


def _seeds(spec: SweepSpec, base: RunConfig) -> list[int]:
    if spec.seeds is None:
        return [base.seed]
    if isinstance(spec.seeds, int):
        return list(range(spec.seeds))
    return list(dict.fromkeys(spec.seeds))


def _listed(axis: list[Any] | Span) -> list[Any]:
    return axis.values() if isinstance(axis, Span) else axis


def _drawn(axis: list[Any] | Span, seed: int, field: str, sample: int) -> Any:
    # A stream per axis and sample: one more axis or sample moves no other value.
    share = float(stream(seed, "sweep", field, sample).random())
    if isinstance(axis, Span):
        return axis.at(share)
    return axis[int(share * len(axis))]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted field and value of a config tree; a range of values is one value."""
    for name, value in tree.items():
        if isinstance(value, dict) and not {"from", "to"} <= value.keys():
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
