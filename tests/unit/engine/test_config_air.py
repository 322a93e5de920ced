"""Radio, mesh and motion in a config: what is wrong is named at its field, in one sentence."""

from typing import Any

import pytest
from pydantic import ValidationError

from meshtune.engine.config import RunConfig, plain_errors, with_values
from meshtune.engine.planning.plan import problems

RADIO = {"channel.kind": "radio"}
WALK = {"mobility.kind": "random_waypoint"}


def wrong(changes: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        with_values(RunConfig(), changes)
    return plain_errors(caught.value.errors())


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({**RADIO, "channel.deadline_s": -1.0}, "channel.deadline_s", "greater than 0"),
        ({**RADIO, "channel.bandwidth_hz": float("nan")}, "channel.bandwidth_hz", "finite"),
        ({**RADIO, "channel.tx_power_dbm": 1e9}, "channel.tx_power_dbm", "less than or equal"),
        ({**RADIO, "channel.snr_gap_db": -3.0}, "channel.snr_gap_db", "greater than or equal"),
        ({**RADIO, "channel.tries": 0}, "channel.tries", "greater than or equal"),
        ({**RADIO, "channel.header_bits": -1}, "channel.header_bits", "greater than or equal"),
        ({**RADIO, "channel.rx_power_w": float("inf")}, "channel.rx_power_w", "finite"),
        (
            {**RADIO, "channel.path_loss.kind": "log_distance", "channel.path_loss.exponent": 0.0},
            "channel.path_loss.exponent",
            "greater than or equal to 1",
        ),
        ({**RADIO, "channel.path_loss.kind": "fog"}, "channel.path_loss", "free_space"),
        (
            {
                **RADIO,
                "channel.path_loss.kind": "umi_street_canyon",
                "channel.path_loss.low_end_m": 20.0,
            },
            "channel.path_loss.low_end_m",
            "swap",
        ),
        (
            {**RADIO, "channel.path_loss.kind": "gain_table", "channel.path_loss.name": "../x"},
            "channel.path_loss.name",
            "letters, digits",
        ),
        (
            {**RADIO, "channel.fading.kind": "nakagami", "channel.fading.m": 0.1},
            "channel.fading.m",
            "greater than or equal to 0.5",
        ),
        ({**WALK, "mobility.speed_min_m_s": 5.0}, "mobility", "slowest cannot be faster"),
        ({**WALK, "mobility.interval_s": 0.0}, "mobility.interval_s", "greater than 0"),
        ({"churn.leave_prob": 1.5}, "churn.leave_prob", "less than or equal to 1"),
        ({"mixing.lazy": 1.0}, "mixing.lazy", "less than 1"),
        ({"topology.kind": "k_nearest", "topology.neighbours": 8}, "topology.neighbours", "most 7"),
        (
            {"topology.kind": "watts_strogatz", "topology.neighbours": 3},
            "topology.neighbours",
            "multiple of 2",
        ),
        (
            {"topology.kind": "barabasi_albert", "topology.links_each": 8},
            "topology.links_each",
            "at most 7",
        ),
        ({"topology.kind": "k_means", "topology.clusters": 9}, "topology.clusters", "per device"),
        ({"mixing.rule": "push_sum"}, "mixing.rule", "so_lora"),
        (
            {"method.kind": "choco_gossip", "mixing.rule": "uniform"},
            "mixing.rule",
            "symmetric weights",
        ),
        (
            {"method.kind": "choco_gossip", "churn.leave_prob": 0.1},
            "churn.leave_prob",
            "set churn.leave_prob to 0",
        ),
        ({"method.kind": "choco_gossip", **WALK}, "mobility.relink_every", "relink_every to 0"),
        (
            {"topology.kind": "exponential", "topology.direction": "one_way"},
            "topology.direction",
            "both",
        ),
        (
            {
                "topology.kind": "exponential",
                "topology.direction": "one_way",
                "method.kind": "lora_gossip",
            },
            "mixing.rule",
            "uniform or push_sum",
        ),
        (
            {**RADIO, "channel.coherence": "doppler", "mobility.kind": "trace"},
            "channel.coherence",
            "round",
        ),
    ],
)
def test_each_mistake_is_one_sentence_at_its_field(changes: dict, field: str, words: str) -> None:
    found = wrong(changes)
    assert [name for name, _ in found] == [field]
    (sentence,) = [text for _, text in found]
    assert words in sentence
    assert "\n" not in sentence


DRAWN = {
    "fleet.devices": 3,
    "topology.kind": "drawn",
    "topology.positions": [{"x_m": 0, "y_m": 0}, {"x_m": 9, "y_m": 0}, {"x_m": 99, "y_m": 0}],
    "topology.links": [[0, 1]],
}


def test_a_device_without_any_path_is_named() -> None:
    ((field, sentence),) = wrong(DRAWN)
    assert field == "topology.links"
    assert sentence.startswith("device 2 has no path to device 0")
    assert with_values(RunConfig(), {**DRAWN, "method.kind": "local"})


def test_two_devices_in_one_place_are_named() -> None:
    changes = {**DRAWN, "topology.positions": [{"x_m": 0, "y_m": 0}] * 2 + [{"x_m": 9, "y_m": 0}]}
    assert "devices 0 and 1 are in one place" in wrong(changes)[0][1]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channel.deadline_s": 1e-6}, "channel.deadline_s"),
        ({**RADIO, "channel.deadline_s": 1e-6}, "channel.deadline_s"),
        ({"channel.tx_power_dbm": -50.0, "topology.radius_m": 5e4}, "channel.tx_power_dbm"),
        (
            {
                **RADIO,
                "channel.deadline_covers": "round",
                "channel.deadline_s": 0.5,
                "fleet.hardware": ["wearable"],
            },
            "channel.deadline_s",
        ),
        (
            {**RADIO, "channel.path_loss.kind": "gain_table", "channel.path_loss.name": "nowhere"},
            "channel.path_loss.name",
        ),
        ({"mobility.kind": "trace", "mobility.name": "nowhere"}, "mobility.name"),
        (
            {**WALK, "mobility.speed_min_m_s": 999.0, "mobility.speed_max_m_s": 1e3},
            "mobility.interval_s",
        ),
    ],
)
def test_what_cannot_work_is_said_before_it_runs(changes: dict, field: str) -> None:
    if "topology.radius_m" in changes:
        changes = {"topology.kind": "full", **changes}
    found = problems(with_values(RunConfig(), changes))
    assert [name for name, _ in found] == [field]


def test_kinds_within_kinds_are_set_whatever_the_order() -> None:
    config = with_values(
        RunConfig(),
        {
            "channel.access.interference_range_m": 50.0,
            "channel.access.kind": "tdma",
            "channel.kind": "radio",
        },
    )
    assert config.channel.access.interference_range_m == 50.0  # type: ignore[union-attr]
    again = RunConfig.model_validate_json(config.model_dump_json())
    assert again == config
    with pytest.raises(KeyError):
        with_values(RunConfig(), {"channel.acces.kind": "tdma"})
