"""Bits on air of the shipped presets, by hand.

The embedded model has 4 layers of width 160 with a feed-forward width of 416; r = 8, 16 bits per
value. Per layer q, k, v, o are 160 x 160, gate and up 416 x 160, down 160 x 416.
"""

import pytest

from meshtune.engine.config import with_values
from meshtune.engine.presets import load_preset
from meshtune.engine.records import RoundRecord
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state

VALUES_A = 4 * 8 * (6 * 160 + 416)  # 44,032
VALUES_B = 4 * 8 * (4 * 160 + 2 * 416 + 160)  # 52,224
PROTOTYPE = 4 * (3 * 160 + 416)  # inputs of qkv, o, gate and up; of down: 3,584 values

GOSSIP = 16 * (VALUES_A + VALUES_B)  # 1,540,096 bits
OWN = 16 * VALUES_B // 2  # 417,792 bits: half of B
FIRST = 64 + VALUES_B + 16 * PROTOTYPE  # 109,632 bits: seed, bitmap, prototype


def rounds_of(name: str, count: int) -> list[RoundRecord]:
    """The first rounds of a preset; what is on air does not depend on how much is learned."""
    hasty = {
        "rounds": count,
        "fleet.train_samples": 8,
        "training.local_steps": 1,
        "training.batch_size": 1,
        "evaluation.samples_per_task": 1,
    }
    config = load_preset(name).config
    if config.method.kind == "so_lora":
        hasty |= {"method.mask_warmup_steps": 1, "method.library_every": 2}
    world = build_world(with_values(config, hasty))
    return [record for _, record in simulate(world, initial_state(world))]


def test_plain_lora_sends_both_factors_on_every_link():
    record = rounds_of("lora_gossip", 1)[0]
    assert {link.payload_bits for link in record.links} == {GOSSIP} == {1_540_096}
    assert record.sent_bits == GOSSIP * len(record.links)


def test_products_are_averaged_at_the_price_of_plain_lora():
    record = rounds_of("decaf_gossip", 1)[0]
    assert {link.payload_bits for link in record.links} == {GOSSIP}


def test_a_quarter_of_the_values_and_a_bitmap_of_their_places_are_31_percent_of_plain_lora():
    values = VALUES_A + VALUES_B
    record = rounds_of("choco_gossip", 1)[0]
    assert {link.payload_bits for link in record.links} == {16 * values // 4 + values} == {481_280}
    assert pytest.approx(0.3125) == 481_280 / GOSSIP


def test_alone_sends_nothing():
    assert rounds_of("local", 1)[0].sent_bits == 0


@pytest.mark.parametrize("name", ["so_lora", "quick"])
def test_sparse_experts_send_half_of_b_and_pay_for_acquaintance_once(name):
    first, second = rounds_of(name, 2)
    own = {device.device: device.task for device in first.devices}
    # Round 1, no library yet: only devices of one task talk, each for the first time.
    assert {own[k.receiver] == own[k.sender] for k in first.links} <= {True}
    assert {link.payload_bits for link in first.links} <= {OWN + FIRST} == {527_424}
    assert first.extra["own_bits"] == OWN * len(first.links)
    # Round 2 is a library round: every device gets each other task's expert once, and with it
    # what it must know of its source.
    tasks, n = len(set(own.values())), len(own)
    copies = n * (tasks - 1)
    assert second.extra["library_fraction"] == 1.0
    assert second.extra["first_contact_bits"] == FIRST * copies
    offers, rest = divmod(second.extra["library_bits"] - copies * OWN, 64)
    assert rest == 0
    assert offers >= 2 * copies  # one offer and one request for each copy at least
    assert second.sent_bits == sum(link.payload_bits for link in second.links)


def test_the_own_expert_saves_73_percent_against_plain_lora():
    saved = 1 - OWN / GOSSIP
    assert saved == pytest.approx(0.729, abs=5e-4)
