"""The form knows every type of the config, and loses no digit on the way."""

from typing import Annotated, Literal, get_args

import pytest
from pydantic import BaseModel, Field
from streamlit.testing.v1 import AppTest

from dashboard import forms
from engine import config as c
from tests.support.fake_api import fake_config


def models_of(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The model and every model below it."""
    found = {model}
    for name, info in model.model_fields.items():
        for inner in forms.spec_of(info, name).models:
            found |= models_of(inner)
    return found


def spec(model: type[BaseModel], name: str) -> forms.Spec:
    return forms.spec_of(model.model_fields[name], name)


def test_every_field_of_the_config_has_a_widget() -> None:
    kinds = {
        spec(model, name).kind for model in models_of(c.RunConfig) for name in model.model_fields
    }
    assert kinds == set(get_args(forms.Kind))


def test_a_type_without_a_widget_is_refused_in_words() -> None:
    class Odd(BaseModel):
        many: dict[str, int] = Field(default_factory=dict)

    with pytest.raises(TypeError, match=r"add one in dashboard/forms\.py"):
        spec(Odd, "many")


def test_bounds_unit_and_label_come_from_the_model() -> None:
    bandwidth = spec(c.PaperChannel, "bandwidth_hz")
    assert (bandwidth.low, bandwidth.high) == (0.0, 1e11)
    assert bandwidth.unit == "Hz"
    assert bandwidth.our_choice
    assert not spec(c.SoLora, "density").our_choice


@pytest.mark.parametrize("value", [20e6, 3.5e9, 2.3e6, 123.0, 1e-3, 7.4, 19_999_999.999])
def test_a_number_survives_the_unit_it_is_edited_in(value: float) -> None:
    scale = forms.shown_scale(spec(c.PaperChannel, "bandwidth_hz"), value)
    assert forms.from_shown(forms.to_shown(value, scale), scale) == value


def test_bandwidth_is_edited_in_megahertz_and_metres_stay_metres() -> None:
    assert forms.shown_scale(spec(c.PaperChannel, "bandwidth_hz"), 20e6).unit == "MHz"
    assert forms.shown_scale(spec(c.Ring, "radius_m"), 5000.0).unit == "m"


@pytest.mark.parametrize(
    ("model", "name", "value", "step"),
    [
        (c.PaperChannel, "tx_power_dbm", 23.0, 1.0),
        (c.SoLora, "density", 0.5, 0.1),
        (c.Training, "learning_rate", 0.005, 0.001),
        (c.Ring, "radius_m", 100.0, 10.0),
        (c.Training, "weight_decay", 0.0, 0.01),
    ],
)
def test_one_press_is_a_sensible_step(
    model: type[BaseModel], name: str, value: float, step: float
) -> None:
    assert forms.step_of(spec(model, name), value) == pytest.approx(step)


@pytest.mark.parametrize("model", [*get_args(get_args(c.Topology)[0]), c.SoLora, c.Fleet])
def test_defaults_of_a_branch_are_a_valid_tree(model: type[BaseModel]) -> None:
    assert model.model_validate(forms.defaults(model)) == model()


def form_script() -> None:
    # AppTest runs this body as a script of its own
    import streamlit as st  # noqa: PLC0415

    from dashboard.forms import Form  # noqa: PLC0415
    from engine.config import RunConfig  # noqa: PLC0415

    start = st.session_state["start"]
    form = Form("test")
    tree = form.scalars(RunConfig, start)
    for branch in ("fleet", "topology", "method", "adapter", "channel", "training", "evaluation"):
        tree[branch] = form.section(RunConfig, branch, start)
    st.session_state["tree"] = tree
    st.session_state["homeless"] = form.show_errors(st.session_state["errors"])


def shown(config: c.RunConfig, errors: list[tuple[str, str]] | None = None) -> AppTest:
    page = AppTest.from_function(form_script, default_timeout=30)
    page.session_state["start"] = config.model_dump(mode="json")
    page.session_state["errors"] = errors or []
    page.run()
    assert not page.exception
    return page


DRAWN = {"kind": "drawn", "positions": [{"x_m": 0, "y_m": 0}, {"x_m": 9.5, "y_m": 1}]}
CONFIGS = [
    fake_config(),
    fake_config(channel={"kind": "ideal"}, method={"kind": "local"}, topology={"kind": "ring"}),
    fake_config(topology={"kind": "geometric", "range_m": 33.3}, training={"learning_rate": 3e-4}),
    fake_config(channel={"kind": "paper", "bandwidth_hz": 1.4e6, "tx_power_dbm": -3.5}),
    fake_config(fleet={"devices": 2, "tasks": ["ending", "ending"]}, topology=DRAWN),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_an_untouched_form_gives_the_config_back(config: c.RunConfig) -> None:
    page = shown(config)
    assert c.RunConfig.model_validate(page.session_state["tree"]) == config


def test_a_chosen_kind_shows_its_own_fields_only() -> None:
    page = shown(fake_config())
    assert any("Density" in each.label for each in page.number_input)
    page.segmented_control(key="test:method.kind").set_value("local").run()
    assert not any("Density" in each.label for each in page.number_input)
    assert page.session_state["tree"]["method"] == {"kind": "local"}


def test_an_edit_arrives_in_the_base_unit() -> None:
    page = shown(fake_config())
    page.number_input(key="test:channel.bandwidth_hz").set_value(2.3).run()
    assert page.session_state["tree"]["channel"]["bandwidth_hz"] == 2_300_000.0


def test_errors_stand_below_their_field() -> None:
    errors = [
        ("channel.bandwidth_hz", "must be more"),
        ("fleet.tasks.2", "no such task"),
        ("topology", "two devices in one place"),
        ("config", "does not fit"),
    ]
    page = shown(fake_config(), errors)
    said = [each.value for each in page.error]
    assert sorted(said) == ["Must be more", "No such task", "Two devices in one place"]
    assert page.session_state["homeless"] == [("config", "does not fit")]


def test_choices_left_open_by_the_paper_say_so() -> None:
    page = shown(fake_config())
    labels = {each.key: each.label for each in page.number_input}
    assert ":gray-badge[our choice]" in labels["test:channel.bandwidth_hz"]
    assert "our choice" not in labels["test:method.density"]


def test_a_union_without_a_discriminator_is_refused() -> None:
    class Vague(BaseModel):
        one: Annotated[c.Local | c.SoLora, Field()] = c.Local()

    with pytest.raises(TypeError):
        spec(Vague, "one")


def test_a_literal_of_one_value_is_a_constant() -> None:
    class Fixed(BaseModel):
        kind: Literal["only"] = "only"

    assert spec(Fixed, "kind").kind == "constant"
