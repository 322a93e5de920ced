"""Power that a message needs: its size, Lemma 1 against the radio, and who is within reach."""

import math

import numpy as np
import pytest

from meshtune.engine.backbone.embedded import load_embedded
from meshtune.engine.backbone.llama import backbone_from_llama
from meshtune.engine.channels import Radio, build_channel
from meshtune.engine.config import Model, RunConfig
from meshtune.engine.costs import method_costs
from meshtune.engine.models.door import facts_of
from meshtune.engine.topology.power import deadline_power_w, within_reach

HUB_AND_FOUR = np.array([[0, 0], [300, 0], [0, 300], [-300, 0], [0, -300]], dtype=np.float64)


def radio(**parts: object) -> Radio:
    chosen = {"kind": "paper", "fading": "none", **parts}
    built = build_channel(RunConfig.model_validate({"channel": chosen}))
    assert isinstance(built, Radio)
    return built


def from_hub(bits: int, power_w: float, receivers: int) -> tuple[np.ndarray, np.ndarray]:
    """Airtime and fate of messages of the device in the middle with a power budget in watts."""
    sent = np.zeros((5, 5), dtype=np.int64)
    sent[1 : 1 + receivers, 0] = bits
    dbm = 10 * math.log10(power_w * 1e3)
    delivery = radio(tx_power_dbm=dbm, deadline_s=2.0).deliver(HUB_AND_FOUR, sent, 0)
    return delivery.airtime_s[1 : 1 + receivers, 0], delivery.heard[1 : 1 + receivers, 0]


def test_shapes_are_those_of_the_loaded_model() -> None:
    loaded = backbone_from_llama(load_embedded()[0]).shapes
    assert list(facts_of(Model()).shapes.items()) == list(loaded.items())


@pytest.mark.parametrize("receivers", [1, 2, 4])
def test_t8_with_the_power_of_lemma_1_a_message_takes_exactly_the_deadline(receivers: int) -> None:
    bits = 30_000_000
    power_w = deadline_power_w(radio(deadline_s=2.0), HUB_AND_FOUR, bits, receivers)[1, 0]
    budget_w = receivers * power_w  # equally far receivers get equal shares of it
    airtime_s, _ = from_hub(bits, budget_w, receivers)
    np.testing.assert_allclose(airtime_s, 2.0, rtol=1e-9)
    assert from_hub(bits, budget_w * 1.001, receivers)[1].all()
    assert not from_hub(bits, budget_w * 0.999, receivers)[1].any()


def test_lemma_1_by_hand() -> None:
    chosen = radio(bandwidth_hz=1e6, carrier_hz=3e9, noise_figure_db=4.0, deadline_s=5.0)
    power_w = deadline_power_w(chosen, HUB_AND_FOUR, 10_000_000, 3)
    wavelength_m = 299_792_458.0 / 3e9
    gain = (wavelength_m / (4 * math.pi * 300)) ** 2
    noise_w = 10 ** ((-174 + 4 - 30) / 10) * 1e6 / 3
    assert power_w[2, 0] == pytest.approx(noise_w / gain * (2**6 - 1), rel=1e-12)
    assert (power_w == power_w.T).all()
    assert not power_w.diagonal().any()


def test_a_message_above_the_cap_needs_infinite_power() -> None:
    chosen = radio(bandwidth_hz=1e6, deadline_s=1.0, spectral_efficiency_max=4.0)
    others = ~np.eye(5, dtype=bool)
    assert np.isfinite(deadline_power_w(chosen, HUB_AND_FOUR, 4_000_000, 1)).all()
    assert np.isinf(deadline_power_w(chosen, HUB_AND_FOUR, 4_000_001, 1)[others]).all()
    # The same message fits one receiver but not two, who get half the band each.
    assert np.isfinite(deadline_power_w(chosen, HUB_AND_FOUR, 2_500_000, 1)).all()
    assert np.isinf(deadline_power_w(chosen, HUB_AND_FOUR, 2_500_000, 2)[others]).all()
    assert not within_reach(chosen, HUB_AND_FOUR, 4_000_001).any()


def test_within_reach_are_those_that_hear_a_message_sent_to_them_alone() -> None:
    chosen = radio(tx_power_dbm=7.0, bandwidth_hz=1e6, deadline_s=1.0)
    places = np.random.default_rng(0).uniform(-3000, 3000, (12, 2))
    bits = 1_500_000
    reach = within_reach(chosen, places, bits)
    for sender in range(12):
        for receiver in range(12):
            sent = np.zeros((12, 12), dtype=np.int64)
            sent[receiver, sender] = bits if receiver != sender else 0
            assert (
                chosen.deliver(places, sent, 0).heard[receiver, sender] == reach[receiver, sender]
            )
    assert 0 < reach.sum() < 12 * 11


def test_without_a_radio_everybody_is_within_reach() -> None:
    ideal = build_channel(RunConfig.model_validate({"channel": {"kind": "ideal"}}))
    assert (within_reach(ideal, HUB_AND_FOUR, 10**15) == ~np.eye(5, dtype=bool)).all()


@pytest.mark.parametrize(
    ("method", "values"),
    [
        # Per block: inputs 6 * 160 + 416, outputs 5 * 160 + 2 * 416; four blocks; rank 8.
        ({"kind": "lora_gossip"}, 4 * 8 * (1376 + 1632)),
        ({"kind": "local"}, 4 * 8 * (1376 + 1632)),
        ({"kind": "centralised"}, 4 * 8 * (1376 + 1632)),
        ({"kind": "ffa_gossip"}, 4 * 8 * 1632),
        ({"kind": "decaf_gossip"}, 4 * 8 * (1376 + 1632)),
        ({"kind": "choco_gossip"}, 8 * (1376 + 1632)),
        ({"kind": "lori"}, 4 * 8 * 1632),
        ({"kind": "lori", "density": 0.1}, 5222),
        ({"kind": "lori", "density": 1e-9}, 1),
        ({"kind": "so_lora"}, 4 * 8 * 816),
        ({"kind": "so_lora", "density_sent": 0.25}, 4 * 8 * 408),
        ({"kind": "so_lora", "density": 0.25, "density_sent": 0.5}, 4 * 8 * 408),
        ({"kind": "full_gossip"}, 4 * (4 * 160 * 160 + 3 * 160 * 416)),
        ({"kind": "oracle_experts"}, 4 * (4 * 160 * 160 + 3 * 160 * 416)),
    ],
)
def test_message_sizes_are_those_by_hand(method: dict[str, object], values: int) -> None:
    for value_bits in (4, 16):
        asked = {"method": method, "adapter": {"value_bits": value_bits, "rank": 8}}
        assert method_costs(RunConfig.model_validate(asked)).message_bits == value_bits * values
