"""What a plan foresees is what the run does: both keep the same books on the same air."""

from typing import Any

import numpy as np
import pytest

from meshtune.engine.channels import build_channel
from meshtune.engine.config import RunConfig
from meshtune.engine.planning.dry_run import play_on_air, round_meshes
from meshtune.engine.planning.plan import plan
from meshtune.engine.plans import Cost
from meshtune.engine.records import RoundRecord
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

LOSSY = {
    "channel__kind": "radio",
    "channel__tx_power_dbm": 0.0,
    "channel__deadline_s": 1.0,
    "channel__bandwidth_hz": 2e6,
    "topology__radius_m": 50.0,
}
CASES: dict[str, dict[str, Any]] = {
    "plain LoRA, ideal": {"channel__kind": "ideal"},
    "plain LoRA, paper": {"channel__kind": "paper"},
    "plain LoRA, lossy": LOSSY,
    "broken packets, broadcast": {
        **LOSSY,
        "channel__access__kind": "broadcast",
        "channel__loss__kind": "waterfall",
        "channel__tries": 2,
        "channel__header_bits": 100,
    },
    "slots, hardware, deadline of the round": {
        **LOSSY,
        "channel__access__kind": "tdma",
        "channel__deadline_covers": "round",
        "channel__deadline_s": 2.0,
        "fleet__hardware": ["flagship", "entry"],
    },
    "compressed gossip": {"method__kind": "choco_gossip", "channel__kind": "ideal"},
    "LoRI": {
        "method__kind": "lori",
        "method__density": 0.2,
        "method__mask_warmup_steps": 1,
        **LOSSY,
    },
    "push-sum, one way": {
        "topology__kind": "exponential",
        "topology__variant": "one_peer",
        "topology__direction": "one_way",
        "mixing__rule": "push_sum",
        "channel__kind": "ideal",
    },
    "oracle experts": {"method__kind": "oracle_experts", "channel__kind": "paper"},
    "library": {
        "method__kind": "so_lora",
        "method__mask_warmup_steps": 1,
        "method__library_every": 2,
        "topology__kind": "clusters",
        "channel__kind": "ideal",
    },
    "library, lossy, new masks": {
        "method__kind": "so_lora",
        "method__mask_warmup_steps": 1,
        "method__library_every": 2,
        "method__mask_every": 3,
        **LOSSY,
    },
    "moving, coming and going": {
        "method__kind": "so_lora",
        "method__mask_warmup_steps": 1,
        "method__library_every": 2,
        "topology__kind": "k_nearest",
        "topology__neighbours": 1,
        "mobility__kind": "random_waypoint",
        "mobility__relink_every": 2,
        "churn__link_up_prob": 0.8,
        "churn__leave_prob": 0.2,
        "channel__kind": "radio",
    },
}


def small(changes: dict[str, Any]) -> RunConfig:
    """Four devices that hardly train: what is on air does not depend on how much is learned."""
    tiny = {
        "rounds": 5,
        "fleet__devices": 4,
        "fleet__train_samples": 4,
        "training__local_steps": 1,
        "training__batch_size": 1,
        "evaluation__samples_per_task": 1,
        "evaluation__every_rounds": 100,
    }
    return tiny_config(**{**tiny, **changes})


def played(config: RunConfig) -> list[RoundRecord]:
    world = build_world(config)
    return [record for _, record in simulate(world, initial_state(world))]


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_a_run_that_is_played_whole_is_foreseen_to_the_bit(changes):
    config = small(changes)
    run = played(config)
    planned = plan(config)
    assert planned.rounds_sampled == len(run) == config.rounds
    assert planned.total.payload_bits == sum(record.sent_bits for record in run)
    values = sum(record.extra["parameters_sent"] for record in run)
    assert planned.total.parameters_sent == values
    assert_sums(planned.first_round, run[:1])
    assert_sums(planned.total, run)
    air = play_on_air(config, round_meshes(config), build_channel(config), range(config.rounds))
    for record, (_, traffic) in zip(run, air, strict=True):
        assert record.delivered_fraction == traffic.delivered_fraction
        heard = {(link.receiver, link.sender): link.delivered for link in record.links}
        assert heard == {
            (receiver, sender): not traffic.failed[receiver, sender]
            for receiver, sender in np.argwhere(traffic.attempted).tolist()
        }
    if "channel__tx_power_dbm" in changes:
        delivered = planned.total.delivered_fraction
        assert delivered is not None
        assert 0.0 < delivered < 1.0


def test_means_of_clusters_are_foreseen_but_for_what_their_masks_share():
    config = small(
        {
            "method__kind": "so_lora",
            "method__mode": "repaired",
            "method__mask_warmup_steps": 1,
            "method__library_every": 2,
            "topology__kind": "clusters",
            "topology__by": "place",
            "topology__clusters": 2,
            "channel__kind": "ideal",
        }
    )
    # Masks are taken as independent; those of like devices agree, so that a union is smaller.
    sent_bits = sum(record.sent_bits for record in played(config))
    assert sent_bits <= plan(config).total.payload_bits <= 1.1 * sent_bits


def assert_sums(cost: Cost, run: list[RoundRecord]) -> None:
    """The cost is the sum over these records."""
    summed = {
        "payload_bits": [r.sent_bits for r in run],
        "airtime_s": [r.airtime_s for r in run],
        "bandwidth_time_hz_s": [r.extra["bandwidth_time_hz_s"] for r in run],
        "transmit_j": [r.energy_j for r in run],
        "receive_j": [r.receive_j for r in run],
        "compute_j": [r.compute_j for r in run],
        "compute_s": [max(d.compute_s for d in r.devices) for r in run],
        "round_s": [r.round_s for r in run],
    }
    for name, values in summed.items():
        assert getattr(cost, name) == pytest.approx(sum(values), rel=1e-9), name
