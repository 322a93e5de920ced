"""A pydantic model as a form. Knows types, bounds and units; knows no field by name.

The form reads and gives a plain tree of values, valid or not. Validation stays with the model;
`Form.show_errors` puts each message below the widget it is about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from streamlit.delta_generator import DeltaGenerator

from meshtune.dashboard.design.fields import Spec, defaults, kind_of_model, said_of, spec_of
from meshtune.dashboard.design.scales import from_shown, shown_scale, step_of, to_shown
from meshtune.dashboard.look import format as fmt
from meshtune.dashboard.look.words import word

# Choices shown side by side, if their names take one line together; others go into a list.
SEGMENTS_UP_TO = 4
SEGMENT_LETTERS = 46
SEGMENT_PADDING = 4  # around each, in letters
LINE_LETTERS = 1_000  # a text that may be longer goes over lines
JS_WHOLE_MAX = 2**53 - 1  # what a browser counts without gaps


def _at(tree: Mapping[str, Any], dotted: str) -> Any:
    """The value of that name in nested mappings; None where there is none."""
    found: Any = tree
    for name in dotted.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def side_by_side(names: Sequence[str]) -> bool:
    """Whether choices of these names are few and short enough for one line."""
    letters = sum(len(name) + SEGMENT_PADDING for name in names)
    return len(names) <= SEGMENTS_UP_TO and letters <= SEGMENT_LETTERS


@dataclass
class Form:
    """Widgets of a model and the places for what is wrong with their values.

    `prefix` is part of every widget key: a new prefix starts the form over from `tree`.
    """

    prefix: str
    starts: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()  # have another place on screen, and keep their value
    more: Mapping[str, Sequence[str]] = field(default_factory=dict)  # choices beside the model's
    slots: dict[str, DeltaGenerator] = field(default_factory=dict)
    tree: Mapping[str, Any] = field(default_factory=dict)  # of the whole form, as it began

    def scalars(self, model: type[BaseModel], tree: Mapping[str, Any]) -> dict[str, Any]:
        """Widgets for the fields of `model` that are no branches."""
        self.tree = tree
        names = [n for n, i in model.model_fields.items() if not _is_branch(spec_of(i, n))]
        return self._fields(model, tree, "", names)

    def section(self, model: type[BaseModel], name: str, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Widgets for the branch `name` of `model`; gives the branch's values."""
        self.tree = tree
        return self._branch(spec_of(model.model_fields[name], name), tree.get(name, {}), name)

    def note(self, name: str, text: str) -> None:
        """Say something below a field; an error takes its place."""
        self.slots[name].caption(text)

    def show_errors(self, errors: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Write each message below its field; gives back those whose field is not on screen."""
        homeless = []
        for name, message in errors:
            slot = self._slot_for(name)
            if slot is None:
                homeless.append((name, message))
            else:
                slot.error(_capitalised(message))
        return homeless

    def _slot_for(self, name: str) -> DeltaGenerator | None:
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            slot = self.slots.get(".".join(parts[:length]))
            if slot is not None:
                return slot
        return None

    def _branch(self, spec: Spec, tree: Mapping[str, Any], path: str) -> dict[str, Any]:
        self.slots[path] = st.empty()
        if spec.kind == "union":
            return self._union(spec, tree, path)
        return self._fields(spec.models[0], tree, f"{path}.", list(spec.models[0].model_fields))

    def _nested(self, spec: Spec, tree: Mapping[str, Any], path: str) -> dict[str, Any]:
        """A branch within a branch: framed, so that one sees where it ends."""
        with st.container(border=True, gap="small"):
            if spec.kind == "branch":
                st.markdown(f"**{spec.title}**", help=spec.help or None)
            return self._branch(spec, tree, path)

    def _union(self, spec: Spec, branch: Mapping[str, Any], path: str) -> dict[str, Any]:
        models = {kind_of_model(model): model for model in spec.models}
        start = str(branch.get("kind", next(iter(models))))
        chosen = self._pick(spec, list(models), start, f"{path}.kind")
        model = models[chosen]
        if said_of(model):
            st.caption(said_of(model))
        begun = branch if chosen == start else self.starts.get(path, {}).get(chosen, {})
        values = {**defaults(model), **begun}
        return {"kind": chosen, **self._fields(model, values, f"{path}.", list(model.model_fields))}

    def _pick(self, spec: Spec, options: list[Any], start: Any, path: str) -> Any:
        label = _label(spec, spec.unit)
        key = f"{self.prefix}:{path}"
        names = {option: word(option, _field_of(path)) for option in options}
        shown, help_text = names.__getitem__, _help(spec, path)
        if side_by_side(list(names.values())):
            return st.segmented_control(
                label,
                options,
                default=start,
                required=True,
                format_func=shown,
                key=key,
                help=help_text,
            )
        index = options.index(start) if start in options else 0
        return st.selectbox(label, options, index=index, format_func=shown, key=key, help=help_text)

    def _fields(
        self, model: type[BaseModel], tree: Mapping[str, Any], path: str, names: list[str]
    ) -> dict[str, Any]:
        start = {**defaults(model), **tree}
        elsewhere = [name for name in names if f"{path}{name}" in self.hidden]
        values: dict[str, Any] = {name: start[name] for name in elsewhere if name in start}
        idle = [name for name in names if not self._matters(model.model_fields[name], path, start)]
        values |= {name: start[name] for name in idle if name in start}
        names = [name for name in names if name not in (*elsewhere, *idle)]
        specs = {name: spec_of(model.model_fields[name], name) for name in names}
        for name in [n for n, s in specs.items() if s.kind in {"text", "texts"}]:
            values[name] = self._one(specs[name], start.get(name), f"{path}{name}")
        numbers = [n for n, s in specs.items() if s.kind in {"int", "float"}]
        if numbers:
            with st.grid(2, min_column_width=150, gap="small"):
                for name in numbers:
                    with st.container(gap="xxsmall"):
                        values[name] = self._one(specs[name], start.get(name), f"{path}{name}")
        for name in [
            n for n, s in specs.items() if s.kind in {"choice", "choices", "rows", "pairs"}
        ]:
            values[name] = self._one(specs[name], start.get(name), f"{path}{name}")
        for name in [n for n, s in specs.items() if _is_branch(s)]:
            values[name] = self._nested(specs[name], start.get(name) or {}, f"{path}{name}")
        constants = {n: start[n] for n, s in specs.items() if s.kind in {"constant", "kept"}}
        return {**constants, **values}

    def _matters(self, info: FieldInfo, path: str, start: Mapping[str, Any]) -> bool:
        """Whether a field has a meaning beside what its neighbour is set to now."""
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        rule: Any = extra.get("matters_if")
        if rule is None:
            return True
        now = self._now(rule["field"], path, start)
        if now is None:
            return True
        if isinstance(now, int | float):
            return bool(now > rule.get("above", -inf) and now < rule.get("below", inf))
        return now in rule.get("one_of", [now]) and now not in rule.get("none_of", [])

    def _now(self, name: str, path: str, start: Mapping[str, Any]) -> Any:
        """What the nearest field of that dotted name is set to: beside it, then outwards."""
        outwards = path.split(".")[:-1]
        for length in range(len(outwards), -1, -1):
            full = ".".join([*outwards[:length], name])
            found = st.session_state.get(f"{self.prefix}:{full}")
            if found is None:
                found = _at(start, name) if length == len(outwards) else _at(self.tree, full)
            if found is not None:
                return found
        return None

    def _one(self, spec: Spec, value: Any, path: str) -> Any:
        widgets = {
            "int": self._int,
            "float": self._float,
            "text": self._text,
            "texts": self._texts,
            "choices": self._choices,
            "rows": self._rows,
            "pairs": self._pairs,
        }
        if spec.kind == "choice":
            given = self._pick(spec, list(spec.options), value, path)
        else:
            given = widgets[spec.kind](spec, value, path)
        self.slots[path] = st.empty()
        return given

    def _int(self, spec: Spec, value: Any, path: str) -> int | None:
        # No bounds here: a browser would turn the field red and keep the old value, in silence.
        return st.number_input(
            _label(spec, spec.unit),
            value=_whole(value),
            step=spec.multiple_of or 1,
            key=f"{self.prefix}:{path}",
            help=_help(spec, path),
        )

    def _float(self, spec: Spec, value: Any, path: str) -> float | None:
        start = _real(value)
        scale = shown_scale(spec, start or 0.0)
        shown = None if start is None else to_shown(start, scale)
        given = st.number_input(
            _label(spec, scale.unit),
            value=shown,
            step=step_of(spec, shown or 0.0),
            format="%g",
            key=f"{self.prefix}:{path}",
            help=_help(spec, path),
        )
        return start if given == shown else _based(given, scale)

    def _text(self, spec: Spec, value: Any, path: str) -> str:
        label, key, told = _label(spec, ""), f"{self.prefix}:{path}", _help(spec, path)
        if (spec.most or 0) > LINE_LETTERS:
            return st.text_area(label, str(value), height="content", key=key, help=told)
        return st.text_input(label, str(value), key=key, help=told)

    def _texts(self, spec: Spec, value: Any, path: str) -> list[str]:
        key, text = f"{self.prefix}:{path}", "\n".join(value)
        lines = st.text_area(_label(spec, ""), text, key=key, help=_help(spec, path)).splitlines()
        return [line.strip() for line in lines if line.strip()]

    def _choices(self, spec: Spec, value: Any, path: str) -> list[Any]:
        key = f"{self.prefix}:{path}"
        options = list(dict.fromkeys((*spec.options, *self.more.get(path, ()), *value)))
        if len(set(value)) == len(value):
            return st.multiselect(
                _label(spec, ""),
                options,
                default=list(value),
                format_func=word,
                key=key,
                help=_help(spec, path),
            )
        # some named twice: one row each, in order
        table = pd.DataFrame({spec.title: list(value)})
        column = st.column_config.SelectboxColumn(options=options, format_func=word)
        edited = self._table(spec, table, {spec.title: column}, key)
        return [name for name in edited[spec.title] if isinstance(name, str)]

    def _rows(self, spec: Spec, value: Any, path: str) -> list[dict[str, Any]]:
        inner = {n: spec_of(i, n) for n, i in spec.models[0].model_fields.items()}
        table = pd.DataFrame(list(value), columns=list(inner))
        columns = {n: st.column_config.NumberColumn(_label(s, s.unit)) for n, s in inner.items()}
        edited = self._table(spec, table, columns, f"{self.prefix}:{path}")
        return [
            {str(name): float(cell) for name, cell in row.items() if not pd.isna(cell)}
            for row in edited.to_dict("records")
        ]

    def _pairs(self, spec: Spec, value: Any, path: str) -> list[list[int]]:
        table = pd.DataFrame([list(pair) for pair in value], columns=["one", "other"])
        columns = {
            name: st.column_config.NumberColumn(f"{name.capitalize()} device", step=1, min_value=0)
            for name in table.columns
        }
        edited = self._table(spec, table, columns, f"{self.prefix}:{path}").dropna(how="all")
        return [
            [int(each) for each in pair if not pd.isna(each)]  # half a pair is told as such
            for pair in edited.itertuples(index=False)
        ]

    def _table(
        self, spec: Spec, table: pd.DataFrame, columns: dict[str, Any], key: str
    ) -> pd.DataFrame:
        st.caption(_label(spec, ""), help=spec.help)
        return st.data_editor(
            table, key=key, num_rows="dynamic", column_config=columns, height=220, hide_index=False
        )


def _whole(value: Any) -> int | None:
    """What a field of whole numbers begins with; nothing if a draft holds something else."""
    fits = isinstance(value, int | float) and abs(value) <= JS_WHOLE_MAX
    return int(value) if fits else None


def _real(value: Any) -> float | None:
    """What a field of numbers begins with; nothing if a draft holds something else."""
    return float(value) if isinstance(value, int | float) and isfinite(value) else None


def _based(given: float | None, scale: fmt.Scale) -> float | None:
    return None if given is None else from_shown(given, scale)


def _capitalised(message: str) -> str:
    """The message as a sentence; a name of the config at its beginning stays as it is."""
    first = message.partition(" ")[0]
    return message if {".", "_"} & set(first) else message[:1].upper() + message[1:]


def _field_of(path: str) -> str:
    """The field that a path leads to: a union's own name, not `kind`."""
    return path.removesuffix(".kind").rpartition(".")[2]


def _is_branch(spec: Spec) -> bool:
    return spec.kind in {"branch", "union"}


def _label(spec: Spec, unit: str) -> str:
    label = f"{spec.title} ({unit})" if unit else spec.title
    return f"{label} :gray-badge[our choice]" if spec.our_choice else label


def _help(spec: Spec, path: str) -> str:
    lines = [spec.help] if spec.help else []
    if spec.our_choice:
        lines.append("The paper leaves this open; the default is ours.")
    lines.append(f"`{path}`")
    return "\n\n".join(lines)
