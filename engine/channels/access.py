"""Who is on air when: messages become transmissions, transmissions get slots."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from meshtune.engine.channels.base import Positions
from meshtune.engine.geometry import distances_m

Indices = Int64[np.ndarray, " _"]
PerLink = Float64[np.ndarray, " m"]
PerSend = Float64[np.ndarray, " k"]


@dataclass(frozen=True)
class Transmissions:
    """What goes on air in one hop: `k` transmissions that serve `m` links.

    Unicast has one link per transmission, a broadcast one per neighbour.

    Attributes:
        sender: Device that sends transmission k.
        bits: Its length.
        parts: Among how many its sender splits its band, itself included.
        slot: When it is sent; slots come one after another, from 0.
        link: Transmission that serves link m.
        receiver: Device that link m leads to.
    """

    sender: Int64[np.ndarray, " k"]
    bits: Int64[np.ndarray, " k"]
    parts: Int64[np.ndarray, " k"]
    slot: Int64[np.ndarray, " k"]
    link: Int64[np.ndarray, " m"]
    receiver: Int64[np.ndarray, " m"]

    @property
    def link_sender(self) -> Int64[np.ndarray, " m"]:
        return np.asarray(self.sender[self.link])

    @property
    def slots(self) -> int:
        return int(self.slot.max(initial=0)) + 1


@dataclass(frozen=True)
class Sharing:
    """Who sends when, in which part of the band, at which share of the power."""

    access: Literal["ofdma", "broadcast", "tdma"] = "ofdma"
    shared_band: bool = False  # all senders in one band: every other one interferes
    slot_casts: bool = False  # a slot of TDMA carries one message to all neighbours
    reuse_range_m: float | None = None  # of TDMA; None: one sender at a time
    half_duplex: bool = False
    power: Literal["split", "per_link", "deadline"] = "split"

    @property
    def sends_to_all(self) -> bool:
        """One message serves all neighbours."""
        return self.access == "broadcast" or (self.access == "tdma" and self.slot_casts)

    @property
    def interferes(self) -> bool:
        """Several senders may be on air in one band."""
        return self.shared_band or self.reuse_range_m is not None

    def transmissions(
        self, positions: Positions, sent_bits: Int64[np.ndarray, "n n"], *, alike: bool = True
    ) -> Transmissions:
        """What goes on air for these messages, in which part of the band and in which slot (M31).

        Messages made to order (not `alike`) cannot be broadcast: a sender sends them one by one.
        """
        to_all = self.sends_to_all and alike
        sender, bits, link, receiver = (broadcast if to_all else unicast)(sent_bits)
        parts, slot = np.ones_like(sender), np.zeros_like(sender)
        if self.access == "tdma":
            slot = np.arange(len(sender))
            if self.reuse_range_m is not None:
                near = distances_m(positions) <= self.reuse_range_m
                slot = spatial_slots(near, sender, link, receiver)
            return Transmissions(sender, bits, parts, slot, link, receiver)
        if self.access == "ofdma":
            parts = np.bincount(sender, minlength=len(sent_bits))[sender]
        elif not alike:
            slot = places_in_group(sender)
        if self.half_duplex:
            turn = taking_turns(sent_bits > 0)[sender]
            slot = slot + (slot.max(initial=0) + 1) * turn
        # Turns and places may leave slots that nobody uses.
        slot = np.unique(slot, return_inverse=True)[1]
        return Transmissions(sender, bits, parts, slot, link, receiver)


def unicast(sent_bits: Int64[np.ndarray, "n n"]) -> tuple[Indices, Indices, Indices, Indices]:
    """Sender and bits of every transmission, then transmission and receiver of every link."""
    sender, receiver = np.nonzero(sent_bits.T)
    return sender, sent_bits[receiver, sender], np.arange(len(sender)), receiver


def broadcast(sent_bits: Int64[np.ndarray, "n n"]) -> tuple[Indices, Indices, Indices, Indices]:
    """The same for one transmission per sender, as long as its longest message (our choice)."""
    link_sender, receiver = np.nonzero(sent_bits.T)
    sender, link = np.unique(link_sender, return_inverse=True)
    return sender, sent_bits.max(axis=0)[sender], link, receiver


def places_in_group(group: Indices) -> Indices:
    """Place of every entry among those of its group, from 0; members of a group are neighbours."""
    first = np.flatnonzero(np.diff(group, prepend=-1))
    return np.arange(len(group)) - np.repeat(first, np.diff(first, append=len(group)))


def taking_turns(attempted: Bool[np.ndarray, "n n"]) -> Int64[np.ndarray, " n"]:
    """Turn of every device, so that nobody sends while it should receive.

    A greedy colouring of the graph of links, in the order of the devices: neighbours never share a
    turn. Source of the idea: scheduling by graph colouring, Xing, Simeone & Bi, Federated Learning
    over Wireless Device-to-Device Networks (2021), section III.
    """
    near = attempted | attempted.T
    turn = np.full(len(near), -1)
    for device, neighbours in enumerate(near):
        taken = set(turn[neighbours].tolist())
        turn[device] = next(t for t in range(len(near)) if t not in taken)
    return turn


def spatial_slots(
    near: Bool[np.ndarray, "n n"], sender: Indices, link: Indices, receiver: Indices
) -> Indices:
    """Slot of every transmission, so that nobody near a receiver sends beside its own sender.

    Greedy colouring of the conflict graph in the given order. Two transmissions are in conflict if
    they share a device, or if the sender of one is near (row = receiver, column = sender) a
    receiver of the other. Source as in `taking_turns`.

    Args:
        near: pairs within the interference range; symmetric.
        sender: of every transmission.
        link: transmission that serves each link, in rising order.
        receiver: of every link.
    """
    if near.all():  # nobody can send beside anybody
        return np.arange(len(sender))
    packed = np.packbits(near)
    key = (packed.tobytes(), sender.tobytes(), link.tobytes(), receiver.tobytes())
    return np.frombuffer(_spatial_slots(len(near), *key), dtype=np.int64)


@lru_cache(maxsize=16)  # links and places change seldom, fading does not matter here
def _spatial_slots(
    n: int, near_b: bytes, sender_b: bytes, link_b: bytes, receiver_b: bytes
) -> bytes:
    bits = np.unpackbits(np.frombuffer(near_b, dtype=np.uint8), count=n * n)
    near = bits.reshape(n, n).astype(bool)
    sender, link, receiver = (
        np.frombuffer(part, dtype=np.int64) for part in (sender_b, link_b, receiver_b)
    )
    starts = np.searchsorted(link, np.arange(len(sender) + 1))
    # Slots in which a device may not send, or may not receive; as many as there are transmissions.
    no_sending = np.zeros((n, len(sender) + 1), dtype=bool)
    no_receiving = np.zeros((n, len(sender) + 1), dtype=bool)
    slot = np.zeros(len(sender), dtype=np.int64)
    used = 1  # slots beyond are free for everybody
    for k, source in enumerate(sender.tolist()):
        served = receiver[starts[k] : starts[k + 1]]
        taken = no_sending[source, :used] | no_receiving[served, :used].any(axis=0)
        free = int(taken.argmin()) if not taken.all() else used
        used = max(used, free + 1)
        slot[k] = free
        no_sending[near[served].any(axis=0), free] = True
        no_sending[served, free] = no_sending[source, free] = True
        no_receiving[near[:, source], free] = True
        no_receiving[served, free] = no_receiving[source, free] = True
    return slot.tobytes()
