"""The form knows every type of the config, and loses no digit on the way."""

from typing import Annotated, Any, Literal, get_args

import pytest
from pydantic import BaseModel, Field
from streamlit.testing.v1 import AppTest

from meshtune.dashboard.design import fields, forms, scales
from meshtune.engine import config as c
from meshtune.engine.kinds import TOPOLOGIES
from meshtune.engine.methods.local.config import Local
from meshtune.engine.methods.so_lora.config import SoLora
from tests.support.fake_api import fake_config


def models_of(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The model and every model below it."""
    found = {model}
    for name, info in model.model_fields.items():
        for inner in fields.spec_of(info, name).models:
            found |= models_of(inner)
    return found


def spec(model: type[BaseModel], name: str) -> fields.Spec:
    return fields.spec_of(model.model_fields[name], name)


def test_every_field_of_the_config_has_a_widget() -> None:
    kinds = {
        spec(model, name).kind for model in models_of(c.RunConfig) for name in model.model_fields
    }
    assert kinds == set(get_args(fields.Kind))


def test_a_type_without_a_widget_is_refused_in_words() -> None:
    class Odd(BaseModel):
        many: dict[str, int] = Field(default_factory=dict)

    with pytest.raises(TypeError, match=r"add one in dashboard/design/forms\.py"):
        spec(Odd, "many")


def test_bounds_unit_and_label_come_from_the_model() -> None:
    bandwidth = spec(c.PaperChannel, "bandwidth_hz")
    assert (bandwidth.low, bandwidth.high) == (0.0, 1e11)
    assert bandwidth.unit == "Hz"
    assert bandwidth.our_choice
    assert not spec(SoLora, "density").our_choice


@pytest.mark.parametrize("value", [20e6, 3.5e9, 2.3e6, 123.0, 1e-3, 7.4, 19_999_999.999])
def test_a_number_survives_the_unit_it_is_edited_in(value: float) -> None:
    scale = scales.shown_scale(spec(c.PaperChannel, "bandwidth_hz"), value)
    assert scales.from_shown(scales.to_shown(value, scale), scale) == value


def test_bandwidth_is_edited_in_megahertz_and_metres_stay_metres() -> None:
    assert scales.shown_scale(spec(c.PaperChannel, "bandwidth_hz"), 20e6).unit == "MHz"
    assert scales.shown_scale(spec(c.Ring, "radius_m"), 5000.0).unit == "m"


@pytest.mark.parametrize(
    ("model", "name", "value", "step"),
    [
        (c.PaperChannel, "tx_power_dbm", 23.0, 1.0),
        (SoLora, "density", 0.5, 0.1),
        (c.Training, "learning_rate", 0.005, 0.001),
        (c.Ring, "radius_m", 100.0, 10.0),
        (c.Training, "weight_decay", 0.0, 0.01),
    ],
)
def test_one_press_is_a_sensible_step(
    model: type[BaseModel], name: str, value: float, step: float
) -> None:
    assert scales.step_of(spec(model, name), value) == pytest.approx(step)


@pytest.mark.parametrize("model", [*(kind.config for kind in TOPOLOGIES.rows()), SoLora, c.Fleet])
def test_defaults_of_a_branch_are_a_valid_tree(model: type[BaseModel]) -> None:
    assert model.model_validate(fields.defaults(model)) == model()


def form_script() -> None:
    # AppTest runs this body as a script of its own
    import streamlit as st  # noqa: PLC0415

    from meshtune.dashboard.design.forms import Form  # noqa: PLC0415
    from meshtune.engine.config import RunConfig  # noqa: PLC0415

    start = st.session_state["start"]
    form = Form("test")
    tree = form.scalars(RunConfig, start)
    for branch in [name for name in RunConfig.model_fields if name not in tree]:
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
    fake_config(fleet={"devices": 8, "hardware": ["entry", "flagship", "entry"]}),
    fake_config(
        channel={
            "kind": "radio",
            "path_loss": {"kind": "log_distance", "exponent": 3.7},
            "fading": {"kind": "rician", "k_db": -2.5},
            "access": {"kind": "tdma", "reuse": "spatial", "interference_range_m": 55.5},
            "loss": {"kind": "waterfall", "threshold_db": 1.08},
            "power": "deadline",
            "tries": 4,
        },
        mobility={"kind": "gauss_markov", "memory": 0.25},
        churn={"leave_prob": 0.01},
        mixing={"rule": "uniform"},
    ),
    fake_config(
        channel={
            "kind": "radio",
            "path_loss": {"kind": "gain_table", "name": "hall", "sha256": "0f" * 32},
        },
    ),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_an_untouched_form_gives_the_config_back(config: c.RunConfig) -> None:
    page = shown(config)
    assert c.RunConfig.model_validate(page.session_state["tree"]) == config


def test_a_chosen_kind_shows_its_own_fields_only() -> None:
    page = shown(fake_config())
    assert any("Density" in each.label for each in page.number_input)
    page.selectbox(key="test:method.kind").set_value("local").run()
    assert not any("Density" in each.label for each in page.number_input)
    assert page.session_state["tree"]["method"] == {"kind": "local"}


def test_a_union_inside_a_branch_has_a_chooser_and_fields_of_its_own() -> None:
    page = shown(fake_config(channel={"kind": "radio"}))
    page.selectbox(key="test:channel.path_loss.kind").set_value("log_distance").run()
    page.number_input(key="test:channel.path_loss.exponent").set_value(3.5).run()
    assert page.session_state["tree"]["channel"]["path_loss"] == {
        **c.LogDistance().model_dump(mode="json"),
        "exponent": 3.5,
    }
    page.selectbox(key="test:channel.path_loss.kind").set_value("free_space").run()
    assert page.session_state["tree"]["channel"]["path_loss"] == {"kind": "free_space"}


def test_a_branch_inside_a_branch_is_drawn_with_its_fields() -> None:
    page = AppTest.from_function(nested_script, default_timeout=30)
    page.run()
    assert not page.exception
    assert page.session_state["tree"] == {"inner": {"size": 3}}
    page.number_input(key="nested:outer.inner.size").set_value(5).run()
    assert page.session_state["tree"] == {"inner": {"size": 5}}


def keys(page: AppTest) -> set[str]:
    """Dotted names of the fields that are on screen."""
    found = [*page.number_input, *page.selectbox, *page.button_group, *page.text_input]
    return {str(each.key).removeprefix("test:") for each in found}


IDLE_HERE = [
    ("channel.duplex", {"kind": "radio", "access": {"kind": "tdma"}}),
    ("channel.access.interference_range_m", {"kind": "radio", "access": {"kind": "tdma"}}),
    ("channel.tries", {"kind": "radio"}),
    ("channel.shadowing", {"kind": "radio", "path_loss": {"kind": "free_space"}}),
    (
        "channel.path_loss.shadowing_db",
        {"kind": "radio", "path_loss": {"kind": "log_distance"}, "shadowing": "none"},
    ),
]


@pytest.mark.parametrize(("name", "channel"), IDLE_HERE)
def test_a_field_without_a_meaning_here_is_left_out(name: str, channel: dict[str, Any]) -> None:
    page = shown(fake_config(channel=channel))
    assert name not in keys(page)
    assert c.RunConfig.model_validate(page.session_state["tree"]) == fake_config(channel=channel)


def test_a_field_comes_with_the_choice_that_gives_it_a_meaning() -> None:
    page = shown(fake_config(method={"kind": "full_gossip"}))
    assert not {"adapter.rank", "adapter.alpha", "adapter.places"} & keys(page)
    assert "adapter.value_bits" in keys(page)
    page.selectbox(key="test:method.kind").set_value("lori").run()
    assert {"adapter.rank", "adapter.alpha", "adapter.places"} <= keys(page)
    assert "method.mask_warmup_steps" not in keys(page)
    page.number_input(key="test:method.density").set_value(0.5).run()
    assert "method.mask_warmup_steps" in keys(page)


def nested_script() -> None:
    import streamlit as st  # noqa: PLC0415
    from pydantic import BaseModel  # noqa: PLC0415

    from meshtune.dashboard.design.forms import Form  # noqa: PLC0415

    class Inner(BaseModel):
        size: int = 3

    class Outer(BaseModel):
        inner: Inner = Inner()

    class Whole(BaseModel):
        outer: Outer = Outer()

    st.session_state["tree"] = Form("nested").section(Whole, "outer", {})


def test_the_chosen_kind_says_what_it_is() -> None:
    page = shown(fake_config(topology={"kind": "star"}))
    told = [each.value for each in page.caption]
    assert "Device 0 in the centre, linked to all others; the others only to it." in told


@pytest.mark.parametrize(
    ("names", "one_line"),
    [
        (["Own", "Shared"], True),
        (["Paper's radio", "Radio in parts", "Ideal"], True),
        (["A", "B", "C", "D", "E"], False),
        (["Split among receivers", "Full for each receiver", "Least for the deadline"], False),
    ],
)
def test_few_short_choices_stand_side_by_side(names: list[str], one_line: bool) -> None:
    assert forms.side_by_side(names) is one_line


def test_a_number_that_must_be_even_is_stepped_by_two() -> None:
    assert spec(c.WattsStrogatz, "neighbours").multiple_of == 2
    assert spec(c.KNearest, "neighbours").multiple_of is None


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


def test_an_error_of_a_part_of_the_radio_stands_below_that_part() -> None:
    config = fake_config(channel={"kind": "radio", "path_loss": {"kind": "log_distance"}})
    errors = [
        ("channel.path_loss.exponent", "too small"),
        ("channel.loss", "say which kind it is"),
        ("mixing.rule", "push_sum mixes whole adapters"),
    ]
    page = shown(config, errors)
    said = {each.value for each in page.error}
    assert said == {"Too small", "Say which kind it is", "push_sum mixes whole adapters"}
    assert page.session_state["homeless"] == []


def test_choices_left_open_by_the_paper_say_so() -> None:
    page = shown(fake_config())
    labels = {each.key: each.label for each in page.number_input}
    assert ":gray-badge[our choice]" in labels["test:channel.bandwidth_hz"]
    assert "our choice" not in labels["test:method.density"]


def test_a_union_without_a_discriminator_is_refused() -> None:
    class Vague(BaseModel):
        one: Annotated[Local | SoLora, Field()] = Local()

    with pytest.raises(TypeError):
        spec(Vague, "one")


def test_a_literal_of_one_value_is_a_constant() -> None:
    class Fixed(BaseModel):
        kind: Literal["only"] = "only"

    assert spec(Fixed, "kind").kind == "constant"
