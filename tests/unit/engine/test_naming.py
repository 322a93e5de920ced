"""Names of runs: by what changed, never too long, told apart."""

import pytest
from hypothesis import given, strategies as st

from meshtune.engine.config import RunConfig, with_values
from meshtune.engine.naming import NAME_MAX, changed_name, flat, numbered
from meshtune.engine.presets import load_preset, preset_names

FIRST = load_preset("quick").config


def after(name: str = "First light", start: RunConfig = FIRST, **changes: object) -> str:
    dotted = {field.replace("__", "."): value for field, value in changes.items()}
    before, now = start, with_values(start, dotted)
    return changed_name(name, *(flat(each.model_dump(mode="json")) for each in (before, now)))


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_called_what_its_card_says(name: str) -> None:
    preset = load_preset(name)
    assert preset.config.name == preset.title


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "First light"),
        ({"method__density": 0.25}, "First light, density 0.5 → 0.25"),
        ({"seed": 7}, "First light, seed 1 → 7"),
        ({"channel__bandwidth_hz": 5e6}, "First light, bandwidth 1 MHz → 5 MHz"),
        ({"channel__tx_power_dbm": 20.0}, "First light, tx power 23 dBm → 20 dBm"),
        ({"method__kind": "local"}, "First light, method so_lora → local"),
        ({"fleet__tasks": ["reading"]}, "First light, tasks changed"),
        (
            {"rounds": 5, "training__learning_rate": 1e-3},
            "First light, rounds 9 → 5, learning rate 0.005 → 0.001",
        ),
    ],
)
def test_what_changed_is_in_the_name(changes: dict[str, object], name: str) -> None:
    assert after(**changes) == name


def test_a_change_of_a_change_is_told_once() -> None:
    half = with_values(FIRST, {"method.density": 0.25, "channel.bandwidth_hz": 5e6})
    called = "First light, density 0.5 → 0.25, bandwidth 1 MHz → 5 MHz"
    assert after(called, half, method__density=0.1) == (
        "First light, bandwidth 1 MHz → 5 MHz, density 0.5 → 0.1"
    )
    assert after(called, half, method__density=0.5) == "First light, bandwidth 1 MHz → 5 MHz"


def test_a_comma_of_the_person_stays() -> None:
    assert after("Lab 3, quiet", seed=2) == "Lab 3, quiet, seed 1 → 2"


def test_the_number_of_a_copy_goes_when_it_is_changed() -> None:
    assert after("First light (2)", seed=2) == "First light, seed 1 → 2"


def test_what_does_not_fit_is_counted() -> None:
    many = {"rounds": 5, "seed": 7, "training__learning_rate": 1e-3, "training__batch_size": 4}
    name = after(**many, channel__bandwidth_hz=5e6, fleet__devices=12)
    assert len(name) <= NAME_MAX
    assert name.startswith("First light, seed 1 → 7, rounds 9 → 5")
    assert name.endswith(" more")
    assert len(after("x" * NAME_MAX, rounds=5)) <= NAME_MAX


def test_equal_names_are_numbered() -> None:
    assert numbered("A", {"B"}) == "A"
    assert numbered("A", {"A"}) == "A (2)"
    assert numbered("A", {"A", "A (2)"}) == "A (3)"
    assert numbered("A (2)", {"A", "A (2)"}) == "A (3)"
    assert len(numbered("x" * NAME_MAX, {"x" * NAME_MAX})) == NAME_MAX


@given(st.text(min_size=1, max_size=NAME_MAX), st.integers(1, 500), st.floats(0.01, 1.0))
def test_a_name_never_grows_too_long(name: str, rounds: int, density: float) -> None:
    once = after(name, rounds=rounds, method__density=density)
    assert len(once) <= NAME_MAX
    assert len(after(once, seed=3)) <= NAME_MAX
