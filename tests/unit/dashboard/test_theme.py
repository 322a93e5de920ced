"""The look is one table; what repeats it must not drift from it."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from meshtune import dashboard
from meshtune.dashboard.look import theme
from meshtune.dashboard.look.words import word
from meshtune.engine import config as c
from meshtune.engine.config import TASK_NAMES
from meshtune.engine.fields import Part
from meshtune.engine.methods.registry import METHODS
from meshtune.engine.records import RunStatus

CONFIG = Path(dashboard.__file__).parent / "serving" / ".streamlit" / "config.toml"


def test_streamlits_theme_has_the_colours_of_the_table() -> None:
    themes = tomllib.loads(CONFIG.read_text("utf-8"))["theme"]
    tokens = {
        "primaryColor": theme.ACCENT,
        "backgroundColor": theme.PAPER,
        "secondaryBackgroundColor": theme.PANEL,
        "textColor": theme.TEXT,
        "borderColor": theme.HAIRLINE,
        "grayTextColor": theme.MUTED,
        "grayBackgroundColor": theme.HAIRLINE,
        "greenTextColor": theme.GOOD,
        "orangeTextColor": theme.WARN,
        "redTextColor": theme.BAD,
    }
    for option, tint in tokens.items():
        assert (themes["light"][option], themes["dark"][option]) == (tint.light, tint.dark)


def test_no_two_tasks_look_alike() -> None:
    looks = [theme.TASKS[name] for name in TASK_NAMES]
    assert len({(look.color, look.marker, look.filled) for look in looks}) == len(looks)


def test_tasks_from_outside_are_told_apart_by_colour() -> None:
    names = ["boolq", "gsm8k", "piqa", "mine", "yours", "arc_easy", "arc_challenge", "dolly"]
    known = theme.TaskLooks({name: theme.TASKS[name] for name in TASK_NAMES})
    looks = [known[name] for name in names]
    assert len({look.color for look in looks}) == len(looks)
    assert known["arc_easy"].title == "Arc easy"
    assert [known[name] for name in names] == looks


def test_every_state_of_a_run_has_a_look() -> None:
    assert set(theme.STATUSES) == set(RunStatus)


def test_every_method_has_a_look_of_its_own() -> None:
    kinds = set(METHODS)
    assert set(theme.METHODS) == kinds
    looks = [(look.tint, look.dash) for look in theme.METHODS.values()]
    assert len(set(looks)) == len(looks)


def test_every_choice_of_the_config_has_words() -> None:
    """A value in code style, such as `projection_norm`, never reaches a screen."""
    choices = {
        str(choice)
        for part in walked(c.RunConfig)
        for field in part.model_fields.values()
        for literal in [field.annotation, *get_args(field.annotation)]
        if get_origin(literal) is Literal
        for choice in get_args(literal)
    }
    assert {"projection_norm", "orthonormal", "sidelink_urban", "flagship"} <= choices
    assert [choice for choice in choices if "_" in word(choice)] == []


def test_two_choices_of_one_field_never_read_the_same() -> None:
    for part in walked(c.RunConfig):
        named = {n: field for n, field in part.model_fields.items() if n != "kind"}
        for name, field in named.items():
            kinds = [
                kind.model_fields["kind"].default
                for kind in get_args(field.annotation)
                if isinstance(kind, type) and "kind" in getattr(kind, "model_fields", {})
            ]
            inner = field.annotation if get_origin(field.annotation) is Literal else None
            values = [*get_args(inner), *kinds]
            if all(isinstance(value, str) for value in values):
                shown = [word(value, name) for value in values]
                assert len(set(shown)) == len(shown), (name, shown)
                assert set(shown) & set(values) <= {"float32", "bfloat16"}, (name, shown)


def test_a_word_may_mean_something_else_in_another_field() -> None:
    assert word("deadline", "power") != word("deadline", "loss")
    assert word("round", "coherence") != word("round", "deadline_covers")


def walked(part: type[Part]) -> Iterator[type[Part]]:
    """`part` and every part below it."""
    yield part
    for field in part.model_fields.values():
        for kind in [field.annotation, *get_args(field.annotation)]:
            if isinstance(kind, type) and issubclass(kind, Part):
                yield from walked(kind)


def test_a_method_unknown_to_the_table_is_still_drawn() -> None:
    assert theme.method_look("tomorrow").title == "tomorrow"


def test_weak_links_fade_and_the_scale_has_ends() -> None:
    assert theme.snr_color(-20, "light") == theme.SNR_WEAK.light.upper()
    assert theme.snr_color(99, "dark") == theme.SNR_STRONG.dark.upper()
    assert theme.snr_color(None, "light") == theme.SNR_STRONG.light.upper()
    assert theme.blend("#000000", "#FFFFFF", 0.5) == "#808080"
