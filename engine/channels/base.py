"""The contract of a channel: bits to send in, deliveries out."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int64

Positions = Float64[np.ndarray, "n 2"]  # in metres
Pairs = Float64[np.ndarray, "n n"]


@dataclass(frozen=True)
class Delivery:
    """What became of the messages of one hop. Row = receiver, column = sender.

    `snr` (linear, with interference) and `rate_bit_s` are NaN where nothing was sent and where the
    channel knows no radio; times and energies are zero there. A broadcast appears once per
    receiver: its airtime on each of these links, its energy in equal parts, its bits once in
    `sender_bits`.

    Attributes:
        sent_bits: Length of each message, its header included; 0 where there is none.
        attempted: Something was to be sent.
        heard: It arrived whole and in time.
        snr: Signal to noise and interference in this round.
        rate_bit_s: Bits per second while on air.
        airtime_s: Time on air, all tries together.
        end_s: When the last try ended, counted from the start of the round.
        energy_j: Radiated by the sender.
        receive_j: Drawn by the receiver's electronics while the message was on air.
        sender_bits: Payload that each device put on air, tries counted once.
        sender_airtime_s: Time that each device was on air.
        duration_s: The hop on air: its longest message, or its slots one after another.
        bandwidth_time_hz_s: Time-frequency area that was occupied.
    """

    sent_bits: Int64[np.ndarray, "n n"]
    attempted: Bool[np.ndarray, "n n"]
    heard: Bool[np.ndarray, "n n"]
    snr: Float64[np.ndarray, "n n"]
    rate_bit_s: Float64[np.ndarray, "n n"]
    airtime_s: Float64[np.ndarray, "n n"]
    end_s: Float64[np.ndarray, "n n"]
    energy_j: Float64[np.ndarray, "n n"]
    receive_j: Float64[np.ndarray, "n n"]
    sender_bits: Int64[np.ndarray, " n"]
    sender_airtime_s: Float64[np.ndarray, " n"]
    duration_s: float
    bandwidth_time_hz_s: float


@dataclass(frozen=True)
class LinkQuality:
    """What a radio gives every link on average; NaN where there is no link.

    `mean_snr` is linear, without fading, with the mean interference; `mean_rate_bit_s` is over
    fading, all neighbours being sent to; `loss_prob` is of one message, NaN where nothing is sent.
    """

    mean_snr: Float64[np.ndarray, "n n"]
    mean_rate_bit_s: Float64[np.ndarray, "n n"]
    loss_prob: Float64[np.ndarray, "n n"]


@runtime_checkable
class Channel(Protocol):
    """A radio, as the round loop sees it."""

    def deliver(
        self,
        positions: Float64[np.ndarray, "n 2"],
        sent_bits: Int64[np.ndarray, "n n"],
        round_index: int,
        *,
        ready_s: Float64[np.ndarray, " n"] | None = None,
        alike: bool = True,
    ) -> Delivery:
        """Fate of the messages `sent_bits[receiver, sender]`; zero bits means no message.

        Args:
            positions: of the devices in this round, in metres.
            sent_bits: payload per link; the diagonal is zero.
            round_index: names the fading of this round.
            ready_s: when each device may begin to send, from the start of the round; 0 if None.
            alike: a sender tells all its receivers the same, the longest message containing the
                others, so that one broadcast can serve them; False for copies made to order.
        """
        ...
