"""Access, power, tries and deadlines on three devices, by hand (M31 to M33)."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from meshtune.engine.channels import build_channel
from meshtune.engine.channels.access import Sharing
from meshtune.engine.channels.capacity import RateRule
from meshtune.engine.channels.fading import RayleighLaw
from meshtune.engine.channels.quality import Reliability
from meshtune.engine.channels.radio import Radio
from meshtune.engine.config import RunConfig, with_values
from tests.support.radios import radio_of

PLACES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 20.0]])
# Device 0 to 1: SNR 3, so 2 bit/s on one hertz; 0 to 2: SNR 1, so 1 bit/s; 1 to 2: SNR 15, 4 bit/s.
SNR = [[0.0, 3.0, 1.0], [3.0, 0.0, 15.0], [1.0, 15.0, 0.0]]
# 0 sends 8 bits to both others, 1 sends 4 bits to 2.
BITS = np.array([[0, 0, 0], [8, 0, 0], [8, 4, 0]])


def deliver(radio: Radio, **more: object):
    return radio.deliver(PLACES, BITS, 0, **more)


def test_ofdma_halves_the_band_of_a_sender_with_two_receivers() -> None:
    got = deliver(radio_of(SNR))
    # Half a hertz: 8 bits at 1 bit/s and at 0.5 bit/s; the whole hertz: 4 bits at 4 bit/s.
    assert_allclose(got.airtime_s, [[0, 0, 0], [8, 0, 0], [16, 1, 0]])
    assert_allclose(got.energy_j, [[0, 0, 0], [4, 0, 0], [8, 1, 0]])
    assert got.sender_bits.tolist() == [16, 4, 0]
    assert_allclose(got.sender_airtime_s, [16, 1, 0])
    assert got.duration_s == 16
    assert got.bandwidth_time_hz_s == 0.5 * (8 + 16) + 1


def test_a_broadcast_goes_once_at_the_rate_of_the_worst_neighbour() -> None:
    got = deliver(radio_of(SNR, sharing=Sharing(access="broadcast")))
    # The whole hertz at 1 bit/s, which the worse of the two can follow: 8 s for both.
    assert_allclose(got.airtime_s, [[0, 0, 0], [8, 0, 0], [8, 1, 0]])
    assert_allclose(got.energy_j.sum(axis=0), [8, 1, 0])
    assert got.sender_bits.tolist() == [8, 4, 0]
    assert got.bandwidth_time_hz_s == 8 + 1
    assert got.heard.sum() == 3


def test_a_broadcast_leaves_behind_who_would_hold_it_up_past_the_deadline() -> None:
    got = deliver(radio_of(SNR, sharing=Sharing(access="broadcast"), deadline_s=5.0))
    # 8 bits in 5 s need 1.6 bit/s: device 1 can follow, device 2 cannot.
    assert got.heard[1, 0]
    assert not got.heard[2, 0]
    assert got.airtime_s[1, 0] == pytest.approx(5.0)
    assert got.rate_bit_s[1, 0] == pytest.approx(1.6)


def test_a_longer_message_to_one_receiver_makes_the_broadcast_longer() -> None:
    bits = np.array([[0, 0, 0], [8, 0, 0], [10, 0, 0]])
    got = radio_of(SNR, sharing=Sharing(access="broadcast")).deliver(PLACES, bits, 0)
    assert got.sender_bits.tolist() == [10, 0, 0]
    assert got.airtime_s[1, 0] == 10


def test_copies_made_to_order_are_sent_one_by_one_where_others_are_broadcast() -> None:
    got = deliver(radio_of(SNR, sharing=Sharing(access="broadcast")), alike=False)
    assert_allclose(got.airtime_s, [[0, 0, 0], [4, 0, 0], [8, 1, 0]])
    assert got.sender_bits.tolist() == [16, 4, 0]
    # First messages of both senders side by side, then the second of device 0.
    assert got.duration_s == 4 + 8
    assert_allclose(got.end_s, [[0, 0, 0], [4, 0, 0], [12, 1, 0]])


def test_tdma_sends_one_after_another_over_the_whole_band() -> None:
    got = deliver(radio_of(SNR, sharing=Sharing(access="tdma")))
    assert_allclose(got.airtime_s, [[0, 0, 0], [4, 0, 0], [8, 1, 0]])
    assert_allclose(got.end_s, [[0, 0, 0], [4, 0, 0], [12, 13, 0]])
    assert got.duration_s == 13
    assert_allclose(got.sender_airtime_s, [12, 1, 0])
    assert_allclose(got.energy_j, got.airtime_s)


def test_a_slot_of_tdma_can_carry_a_broadcast() -> None:
    got = deliver(radio_of(SNR, sharing=Sharing(access="tdma", slot_casts=True)))
    assert_allclose(got.end_s, [[0, 0, 0], [8, 0, 0], [8, 9, 0]])
    assert got.sender_bits.tolist() == [8, 4, 0]


def test_neighbours_take_turns_where_nobody_can_send_and_receive_at_once() -> None:
    got = deliver(radio_of(SNR, sharing=Sharing(half_duplex=True)))
    # Device 1 waits until device 0 has sent to it.
    assert got.end_s[1, 0] == 8
    assert got.end_s[2, 0] == 16
    assert got.end_s[2, 1] == 16 + 1
    assert got.duration_s == 17


def test_in_a_shared_band_the_others_are_noise() -> None:
    got = deliver(radio_of(SNR, sharing=Sharing(shared_band=True)))
    # At device 2 device 0 arrives with 1, device 1 with 15; a receiver does not disturb itself.
    assert got.snr[2, 0] == pytest.approx(1 / (1 + 15))
    assert got.snr[2, 1] == pytest.approx(15 / (1 + 1))
    assert got.snr[1, 0] == pytest.approx(3.0)


def test_a_slot_is_shared_only_beyond_the_interference_range() -> None:
    # Two pairs, 100 m apart: 0 -> 1 and 2 -> 3.
    places = np.array([[0.0, 0.0], [1.0, 0.0], [100.0, 0.0], [101.0, 0.0]])
    bits = np.zeros((4, 4), dtype=np.int64)
    bits[1, 0] = bits[3, 2] = 8
    snr = np.full((4, 4), 0.5)
    snr[1, 0] = snr[3, 2] = 3.0

    def played(reach_m: float):
        sharing = Sharing(access="tdma", reuse_range_m=reach_m)
        return radio_of(snr.tolist(), sharing=sharing).deliver(places, bits, 0)

    near, far = played(50.0), played(150.0)
    assert near.snr[1, 0] == pytest.approx(3.0 / 1.5)  # the other sender disturbs a little
    assert near.duration_s == pytest.approx(8 / math.log2(3))
    assert far.snr[1, 0] == pytest.approx(3.0)
    assert far.duration_s == pytest.approx(8.0)


def test_full_power_on_each_link_multiplies_signal_and_energy_by_the_receivers() -> None:
    got = deliver(radio_of(SNR, sharing=Sharing(power="per_link")))
    assert got.snr[1, 0] == pytest.approx(2 * 3.0)
    assert got.energy_j[1, 0] == pytest.approx(got.airtime_s[1, 0])


def test_power_for_the_deadline_takes_exactly_the_deadline() -> None:
    """Lemma 1 in the radio itself (T8)."""
    sharing = Sharing(power="deadline")
    got = deliver(radio_of(SNR, sharing=sharing, tx_power_w=1.0, deadline_s=40.0))
    assert_allclose(got.airtime_s[got.attempted], 40.0)
    assert got.heard.sum() == 3
    # 8 bits on half a hertz in 40 s: 0.4 bit/s/Hz; noise of half a watt over gains 3 and 1.
    need = 2**0.4 - 1
    assert got.energy_j[1, 0] == pytest.approx(40 * need * 0.5 / 3)
    assert got.energy_j[2, 0] == pytest.approx(40 * need * 0.5 / 1)
    assert got.energy_j[2, 1] == pytest.approx(40 * (2**0.1 - 1) / 15)


def test_what_the_budget_does_not_reach_stays_silent_the_dearest_first() -> None:
    # 8 bits on half a hertz in 8 s: 2 bit/s/Hz, SNR 3: 0.5 W at device 1, 1.5 W at device 2.
    sharing = Sharing(power="deadline")
    got = deliver(radio_of(SNR, sharing=sharing, deadline_s=8.0))
    assert got.heard[1, 0]
    assert got.attempted[2, 0]
    assert not got.heard[2, 0]
    assert got.airtime_s[2, 0] == got.energy_j[2, 0] == 0.0
    assert got.energy_j[1, 0] == pytest.approx(0.5 * 8)
    enough = deliver(radio_of(SNR, sharing=sharing, deadline_s=8.0, tx_power_w=2.0))
    assert enough.heard[2, 0]


def test_energy_is_power_times_time_and_the_receiver_pays_too() -> None:
    got = deliver(radio_of(SNR, rx_power_w=0.25))
    assert_allclose(got.receive_j, 0.25 * got.airtime_s)


def test_headers_ride_on_every_message() -> None:
    got = deliver(radio_of(SNR, header_bits=2))
    assert got.sent_bits.tolist() == [[0, 0, 0], [10, 0, 0], [10, 6, 0]]
    assert got.airtime_s[1, 0] == 10
    assert not got.attempted[0].any()


def test_who_computes_longer_sends_later() -> None:
    ready = np.array([100.0, 0.0, 0.0])
    got = deliver(radio_of(SNR), ready_s=ready)
    assert got.end_s[1, 0] == 108
    assert got.end_s[2, 1] == 1
    # Slots begin when all are ready.
    slotted = deliver(radio_of(SNR, sharing=Sharing(access="tdma")), ready_s=ready)
    assert slotted.end_s[1, 0] == 104
    assert slotted.duration_s == 13


def test_a_deadline_for_the_round_counts_computing_and_waiting() -> None:
    late = {"deadline_s": 14.0, "deadline_covers_round": True}
    got = deliver(radio_of(SNR, **late), ready_s=np.array([5.0, 0.0, 0.0]))
    assert got.heard[1, 0]  # 5 + 8 s
    assert not got.heard[2, 0]  # 5 + 16 s: cut at 14
    assert got.airtime_s[2, 0] == 9.0
    slotted = radio_of(SNR, sharing=Sharing(access="tdma"), **late)
    in_turn = deliver(slotted, ready_s=np.array([2.0, 0.0, 0.0]))
    assert in_turn.heard[2, 0]  # 2 + 4 + 8 s
    assert not in_turn.heard[2, 1]  # no time is left
    assert in_turn.airtime_s[2, 1] == 0.0


def test_a_hopeless_message_gives_its_slot_up() -> None:
    snr = [[0.0, 3.0, 0.0], [3.0, 0.0, 15.0], [0.0, 15.0, 0.0]]
    got = deliver(radio_of(snr, sharing=Sharing(access="tdma"), deadline_s=20.0))
    assert not got.heard[2, 0]
    assert got.airtime_s[2, 0] == 0.0
    assert got.end_s[2, 1] == 4 + 1


def test_rates_of_the_table_go_in_steps() -> None:
    rule = RateRule(cap=1e3, gap=1.0, table=True)
    got = deliver(radio_of(SNR, rule=rule))
    assert got.rate_bit_s[2, 1] == 3.9023  # the step below 4 bit/s/Hz
    assert got.rate_bit_s[1, 0] == 0.5 * 1.9141


def test_a_table_with_power_for_the_deadline_takes_the_next_step_up() -> None:
    rule = RateRule(cap=1e3, gap=1.0, table=True)
    got = deliver(radio_of(SNR, rule=rule, sharing=Sharing(power="deadline"), deadline_s=40.0))
    assert got.rate_bit_s[1, 0] == pytest.approx(0.5 * 0.6016)  # 0.4 bit/s/Hz are asked for
    assert got.heard.sum() == 3


def test_a_sender_that_knows_the_mean_only_plans_with_a_margin() -> None:
    steady = deliver(radio_of(SNR, reliability=Reliability("outage", margin=3.0)))
    assert steady.rate_bit_s[1, 0] == pytest.approx(0.5 * math.log2(1 + 3 / 3))
    assert steady.heard.sum() == 3


def test_tries_cost_time_and_energy_until_the_message_is_through() -> None:
    reliability = Reliability("outage", margin=1.0, tries=6)
    radio = radio_of(SNR, RayleighLaw(), reliability=reliability)
    once = radio_of(SNR, RayleighLaw(), reliability=Reliability("outage", margin=1.0))
    seen = set()
    for k in range(60):
        got, single = (r.deliver(PLACES, BITS, k) for r in (radio, once))
        tries = got.airtime_s[2, 1] / single.airtime_s[2, 1]
        assert tries == round(tries)
        first = next((n for n in range(6) if radio.fading.gain(3, k, n)[2, 1] >= 1.0), None)
        assert tries == (6 if first is None else first + 1)
        assert got.heard[2, 1] == (first is not None)
        assert got.energy_j[2, 1] == pytest.approx(got.airtime_s[2, 1])
        seen.add(tries)
    assert {1.0, 2.0, 6.0} <= seen


def test_a_broadcast_is_tried_until_all_have_it() -> None:
    reliability = Reliability("waterfall", threshold=1.0, tries=8)
    cast = radio_of(SNR, sharing=Sharing(access="broadcast"), reliability=reliability)
    alone = radio_of(SNR, sharing=Sharing(access="tdma"), reliability=reliability)
    for k in range(40):
        got, single = (r.deliver(PLACES, BITS, k) for r in (cast, alone))
        tries = [single.airtime_s[i, 0] * [0, 2, 1][i] / 8 for i in (1, 2)]
        assert got.airtime_s[1, 0] / 8 == pytest.approx(max(tries))
        assert got.heard.sum() == single.heard.sum()


def test_packets_break_as_often_as_the_waterfall_says() -> None:
    # 1 - exp(-1 / 3) of the packets break at SNR 3; two tries: the square of that are lost.
    once, twice = (
        radio_of(SNR, reliability=Reliability("waterfall", threshold=1.0, tries=n)) for n in (1, 2)
    )
    rounds = 400
    loss = 1 - math.exp(-1 / 3)
    for radio, expected in ((once, loss), (twice, loss**2)):
        heard = [radio.deliver(PLACES, BITS, k).heard[1, 0] for k in range(rounds)]
        error = math.sqrt(expected * (1 - expected) / rounds)
        assert 1 - np.mean(heard) == pytest.approx(expected, abs=4 * error)


def configured(**changes: object) -> Radio:
    dotted = {f"channel.{k.replace('__', '.')}": v for k, v in changes.items()}
    built = build_channel(with_values(RunConfig(), {"channel.kind": "radio", **dotted}))
    assert isinstance(built, Radio)
    return built


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fading__kind": "nakagami", "snr_gap_db": 3.0},
        {"fading__kind": "rician", "rate": "mcs"},
        {"access__kind": "tdma"},
        {"access__kind": "ofdma", "access__band": "shared", "bandwidth_hz": 1e8},
        {"loss__kind": "outage", "tries": 3},
        {"loss__kind": "waterfall", "loss__threshold_db": 8.0, "tries": 2},
        {"power": "per_link", "path_loss__kind": "umi_street_canyon"},
    ],
    ids=str,
)
def test_losses_and_rates_of_many_rounds_are_what_the_plan_expects(changes: dict) -> None:
    radio = configured(**{"deadline_s": 2.0, "bandwidth_hz": 3e6} | changes)
    rng = np.random.default_rng(5)
    places = rng.uniform(-300, 300, (6, 2))
    linked = ~np.eye(6, dtype=bool)
    bits = linked * 2_500_000
    quality = radio.quality(places, linked, bits)
    rounds = 500
    lost, rate = np.zeros((6, 6)), np.zeros((6, 6))
    squares = np.zeros((6, 6))
    for k in range(rounds):
        got = radio.deliver(places, bits, k)
        lost += ~got.heard
        rate += np.where(linked, got.rate_bit_s, 0)
        squares += np.where(linked, got.rate_bit_s, 0) ** 2
    expected = quality.loss_prob[linked]
    share = lost[linked] / rounds
    assert 0.02 < expected.mean() < 0.98
    # Where others interfere, the plan is a sample of 128 rounds itself.
    drawn = 1 / rounds + (1 / 128 if "access__band" in changes else 0)
    middle = np.clip((expected + share) / 2, 0.01, 0.99)
    assert (np.abs(share - expected) < 4.5 * np.sqrt(middle * (1 - middle) * drawn) + 2e-3).all()
    mean = rate[linked] / rounds
    variance = np.maximum(squares[linked] / rounds - mean**2, 0)
    wanted = quality.mean_rate_bit_s[linked]
    assert (np.abs(mean - wanted) < 4.5 * np.sqrt(variance * drawn) + 1e-4 * wanted).all()


def test_two_senders_with_other_messages_meet_the_same_air() -> None:
    radio = configured(loss__kind="waterfall", tries=3)
    rng = np.random.default_rng(1)
    places = rng.uniform(-200, 200, (5, 2))
    all_talk = (~np.eye(5, dtype=bool)) * 10_000
    few = all_talk * (rng.random((5, 5)) < 0.4)
    for k in range(20):
        every, some = (radio.deliver(places, bits, k) for bits in (all_talk, few))
        assert_allclose(every.snr[some.attempted], some.snr[some.attempted], rtol=1e-12)
        assert (every.heard[some.attempted] == some.heard[some.attempted]).all()


def test_picking_links_gives_what_all_pairs_give() -> None:
    rng = np.random.default_rng(2)
    places = rng.uniform(-900, 900, (150, 2))
    bits = np.zeros((150, 150), dtype=np.int64)
    bits[rng.integers(0, 150, 300), rng.integers(0, 150, 300)] = 1000
    np.fill_diagonal(bits, 0)
    radio = configured()
    got = radio.deliver(places, bits, 3)
    pairs = radio.mean_snr(places) * radio.fading.gain(150, 3)
    assert_allclose(got.snr[bits > 0], pairs[bits > 0], rtol=1e-9)
