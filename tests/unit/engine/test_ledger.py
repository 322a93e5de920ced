"""Accounts against real runs and by hand; the library against plain loops."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from jaxtyping import Bool, Int64

from meshtune.engine import config as c
from meshtune.engine.channels import Channel, Delivery
from meshtune.engine.config import with_values
from meshtune.engine.costs import method_costs
from meshtune.engine.ledger import (
    KNOWN,
    NOTHING,
    OFFER_BITS,
    OLD_MASK,
    STRANGER,
    Accounts,
    Library,
    Messages,
    Pulls,
    copied,
    empty_library,
    is_published,
    published,
    pulls,
    with_new_masks,
)
from meshtune.engine.methods.oracle_experts.trees import expert_paths
from meshtune.engine.methods.registry import METHODS
from meshtune.engine.methods.so_lora.config import SoLora
from meshtune.engine.methods.so_lora.masks import draws_masks
from meshtune.engine.presets import load_preset
from meshtune.engine.rng import stream
from meshtune.engine.simulate import simulate
from meshtune.engine.topology import Mesh
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config
from tests.support.methods import full_mesh, line_mesh, mesh_of

VALUES_A = 4 * 8 * (6 * 160 + 416)  # 44,032: four layers of the embedded model at rank 8
VALUES_B = 4 * 8 * (4 * 160 + 2 * 416 + 160)  # 52,224
FULL = 4 * (160 * 160 * 4 + 3 * 160 * 416)  # 1,208,320
PROTOTYPE = 4 * (3 * 160 + 416)
OWN = 16 * VALUES_B // 2
FIRST = 64 + VALUES_B + 16 * PROTOTYPE

# Four devices of two tasks. Every kind by its defaults, and what else changes the bits.
LIBRARY = {"method.kind": "so_lora", "method.library_every": 2, "method.mask_warmup_steps": 1}
CLUSTERS = {"topology.kind": "clusters", "topology.by": "place", "topology.clusters": 2}
ARMS: dict[str, dict[str, Any]] = {kind: {"method.kind": kind} for kind in METHODS} | {
    "lori sparse": {"method.kind": "lori", "method.density": 0.1},
    "lora push_sum": {"method.kind": "lora_gossip", "mixing.rule": "push_sum"},
    "lori push_sum": {"method.kind": "lori", "mixing.rule": "push_sum"},
    "full in 4 bits": {"method.kind": "full_gossip", "adapter.value_bits": 4},
    "choco in 8 bits": {"method.kind": "choco_gossip", "adapter.value_bits": 8},
    "choco by number": {"method.kind": "choco_gossip", "adapter.places": "numbers"},
    "lori of few entries": {"method.kind": "lori", "method.density": 0.02},
    "lori in an entropy code": {
        "method.kind": "lori",
        "method.density": 0.1,
        "adapter.places": "entropy",
    },
    "so_lora in an entropy code": LIBRARY
    | {"method.density_sent": 0.1, "adapter.places": "entropy"},
    "so_lora": LIBRARY,
    "so_lora frugal": LIBRARY
    | {"method.density_sent": 0.01, "method.gate": "gaussian", "adapter.value_bits": 8},
    "so_lora new masks": LIBRARY
    | {"method.mask_every": 2, "method.mask": "column", "method.a_sent": "matrix"},
    "so_lora of few entries": LIBRARY
    | {"method.density": 0.02, "method.mask": "global", "method.gate": "subspace"}
    | {"fleet.samples_spread": 3.0},
    "so_lora dense": LIBRARY | {"method.density": 1.0, "method.gate": "none"},
    "so_lora on the move": LIBRARY
    | {"method.mask": "disjoint", "method.mask_every": 2, "churn.link_up_prob": 0.8}
    | {"topology.kind": "k_means", "topology.clusters": 2}
    | {"mobility.kind": "random_waypoint", "mobility.interval_s": 60.0},
    "so_lora repaired": LIBRARY | {"method.mode": "repaired"},
    "so_lora literal, dealt out": LIBRARY
    | {"method.mode": "literal", "method.mask": "disjoint", "method.a_init": "device"}
    | CLUSTERS,
    "so_lora repaired, all of B": LIBRARY
    | {"method.mode": "repaired", "method.density": 1.0, "method.a_sent": "matrix"}
    | CLUSTERS,
}
HASTY = {
    "seed": 2,
    "rounds": 4,
    "fleet.devices": 4,
    "fleet.tasks": ["addition", "addition", "reading"],
    "fleet.train_samples": 6,
    "channel.kind": "ideal",
    "training.local_steps": 1,
    "training.batch_size": 1,
    "evaluation.samples_per_task": 1,
    "evaluation.every_rounds": 1000,
}


@dataclass(frozen=True)
class Lossy:
    """A medium that loses two messages of five."""

    channel: Channel
    seed: int

    def deliver(
        self,
        positions: np.ndarray,
        sent_bits: np.ndarray,
        round_index: int,
        **more: Any,
    ) -> Delivery:
        hop = self.channel.deliver(positions, sent_bits, round_index, **more)
        coin = stream(self.seed, "lost", round_index, int(sent_bits.sum())).random(hop.heard.shape)
        return replace(hop, heard=hop.heard & (coin > 0.4))


class Audited:
    """A method whose every message is compared with its accounts."""

    def __init__(self, method: Any, books: Accounts) -> None:
        self._method, self._books = method, books
        self.hops: list[tuple[int, int]] = []  # bits, and messages that were lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def payload_bits(self, memory: Any, mesh: Mesh, round_index: int) -> Any:
        bits = self._method.sent(memory, mesh, round_index).bits
        return self._agreed(bits, self._books.sent(mesh, round_index))

    def combine(self, adapters: Any, memory: Any, mesh: Mesh, heard: Any, round_index: int) -> Any:
        self._count(self._books.sent(mesh, round_index), heard)
        self._books = self._books.after(mesh, heard, round_index)
        return self._method.combine(adapters, memory, mesh, heard, round_index)

    def relay_bits(self, memory: Any, mesh: Mesh) -> Any:
        return self._agreed(self._method.relayed(memory, mesh).bits, self._books.relayed(mesh))

    def relay(self, memory: Any, mesh: Mesh, heard: Any) -> Any:
        self._count(self._books.relayed(mesh), heard)
        self._books = self._books.after_relay(mesh, heard)
        return self._method.relay(memory, mesh, heard)

    def _agreed(self, bits: np.ndarray, messages: Messages) -> np.ndarray:
        assert messages.bits.tolist() == bits.tolist()
        assert (messages.values[bits == 0] == 0).all()
        return bits

    def _count(self, messages: Messages, heard: np.ndarray) -> None:
        self.hops.append((int(messages.bits.sum()), int((messages.bits > 0)[~heard].sum())))


def audited(config: c.RunConfig) -> Audited:
    """A run on a medium that loses messages, compared with its accounts hop by hop."""
    world = build_world(config)
    books = method_costs(config).accounts
    assert isinstance(books, Accounts)
    method = Audited(world.method, books)
    world = replace(world, method=method, channel=Lossy(world.channel, config.seed))
    records = [record for _, record in simulate(world, initial_state(world))]
    assert sum(record.sent_bits for record in records) == sum(bits for bits, _ in method.hops)
    return method


@pytest.mark.parametrize("arm", ARMS)
def test_accounts_know_every_bit_of_a_run_that_loses_messages(arm):
    config = with_values(tiny_config(), HASTY | ARMS[arm])
    assert method_costs(config).accounts.exact
    method = audited(config)
    sent = sum(bits for bits, _ in method.hops)
    lost = sum(count for _, count in method.hops)
    assert (sent == 0) == (config.method.kind in ("local", "centralised"))
    assert (lost > 0) == (sent > 0)
    copies_travel = config.method.kind == "so_lora" and not (
        config.method.mode == "repaired" and config.topology.kind == "ring"
    )
    assert (len(method.hops) > config.rounds) == copies_travel


@pytest.mark.parametrize(
    ("changes", "exact"),
    [
        ({"method.density_by": "spectral"}, False),
        ({"method.mode": "repaired"}, True),  # one cluster: its mean stays at home
        ({"method.mode": "repaired", "topology.kind": "agnes"}, False),
        ({"method.mode": "literal", "topology.kind": "k_means"}, False),
        ({"topology.kind": "agnes"}, True),
        ({"method.mode": "repaired", "topology.kind": "agnes", "method.mask": "disjoint"}, True),
    ],
)
def test_what_depends_on_masks_unseen_is_said_to_be_inexact(changes, exact):
    assert method_costs(with_values(c.RunConfig(), changes)).accounts.exact == exact


def test_means_of_clusters_are_foreseen_nearly_and_all_else_exactly():
    """Masks overlap more than independent ones, so a run sends less than foreseen."""
    config = with_values(
        tiny_config(), HASTY | LIBRARY | CLUSTERS | {"method.mode": "repaired", "rounds": 2}
    )
    world, books = build_world(config), method_costs(config).accounts
    real = [record.sent_bits for _, record in simulate(world, initial_state(world))]
    mesh, foreseen = world.mesh, []
    for t in range(2):
        foreseen.append(int(books.sent(mesh, t).bits.sum()))
        books = books.after(mesh, mesh.linked, t)
    first_hop = foreseen[-1]
    while (more := books.relayed(mesh)).bits.any():
        assert (more.values[more.bits > 0] == VALUES_B * 3 // 4).all()
        foreseen[-1] += int(more.bits.sum())
        books = books.after_relay(mesh, mesh.linked)
    assert foreseen[0] == real[0]
    assert first_hop < 0.8 * foreseen[1] < real[1] < foreseen[1]


@pytest.mark.parametrize(
    ("preset", "bits", "values"),
    [
        ("lora_gossip", 16 * (VALUES_A + VALUES_B), VALUES_A + VALUES_B),
        ("decaf_gossip", 16 * (VALUES_A + VALUES_B), VALUES_A + VALUES_B),
        ("ffa_gossip", 16 * VALUES_B, VALUES_B),
        ("full_gossip", 16 * FULL, FULL),
        ("choco_gossip", 481_280, (VALUES_A + VALUES_B) // 4),
        ("so_lora", 527_424, VALUES_B // 2),
        ("local", 0, 0),
    ],
)
def test_first_messages_by_hand(preset, bits, values):
    mesh = mesh_of(full_mesh(2))
    config = with_values(
        load_preset(preset).config, {"fleet.devices": 2, "fleet.tasks": ["reading"]}
    )
    messages = method_costs(config).accounts.sent(mesh, 0)
    assert messages.bits.tolist() == [[0, bits], [bits, 0]]
    assert messages.values.tolist() == [[0, values], [values, 0]]


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ("bitmap", VALUES_B),
        ("numbers", 522 * 16),
        ("least", 522 * 16),
        ("entropy", 4218),  # 52,224 H2(522 / 52,224), H2 = 0.080763
    ],
)
def test_a_first_contact_names_its_entries_as_the_config_says(places, told):
    """At density .01 a mask has 522 entries; at 2**16 entries a number has 16 bits."""
    changes = {"method.density": 0.01, "method.mask": "global", "adapter.places": places}
    pair = {"fleet.devices": 2, "fleet.tasks": ["reading"]}
    books = method_costs(with_values(c.RunConfig(), pair | changes)).accounts
    mesh = mesh_of(full_mesh(2))
    first = books.sent(mesh, 0).bits[0, 1]
    assert first == 16 * 522 + 64 + 16 * PROTOTYPE + told
    assert books.after(mesh, mesh.linked, 0).sent(mesh, 1).bits[0, 1] == 16 * 522


def test_a_mask_drawn_again_is_told_again_to_whom_it_was_known():
    changes = {"method.mask_every": 2, "fleet.devices": 2, "fleet.tasks": ["reading"]}
    books = method_costs(with_values(c.RunConfig(), changes)).accounts
    mesh, sent = mesh_of(full_mesh(2)), []
    for t in range(5):
        sent.append(int(books.sent(mesh, t).bits[0, 1]))
        books = books.after(mesh, mesh.linked, t)
    assert sent == [OWN + FIRST, OWN, OWN + VALUES_B, OWN, OWN + VALUES_B]


def test_a_sent_matrix_counts_among_the_values():
    pair = {"fleet.devices": 2, "fleet.tasks": ["reading"], "method.a_sent": "matrix"}
    books, mesh = method_costs(with_values(c.RunConfig(), pair)).accounts, mesh_of(full_mesh(2))
    first = books.sent(mesh, 0)
    assert first.values[0, 1] == VALUES_B // 2 + VALUES_A
    assert first.bits[0, 1] == OWN + FIRST - 64 + 16 * VALUES_A
    assert books.after(mesh, mesh.linked, 0).sent(mesh, 1).values[0, 1] == VALUES_B // 2


def test_copies_pay_for_offers_and_introductions():
    """Two tasks on a line of three: round 4 publishes, device 1 forwards what it just got."""
    changes = {"fleet.devices": 3, "fleet.tasks": ["reading", "addition", "ending"]}
    books, mesh = method_costs(with_values(c.RunConfig(), changes)).accounts, mesh_of(line_mesh(3))
    for t in range(5):
        assert not books.sent(mesh, t).bits.any()
        assert not books.relayed(mesh).bits.any()
        books = books.after(mesh, mesh.linked, t)
    copy = OWN + 2 * OFFER_BITS + FIRST
    assert books.relayed(mesh).bits.tolist() == [[0, copy, 0], [copy, 0, copy], [0, copy, 0]]
    books = books.after_relay(mesh, mesh.linked)
    assert books.relayed(mesh).bits.tolist() == [[0, copy, 0], [0, 0, 0], [0, copy, 0]]
    books = books.after_relay(mesh, mesh.linked)
    assert not books.relayed(mesh).bits.any()


def test_experts_travel_over_a_tree_in_the_last_round_only():
    changes = {
        "method.kind": "oracle_experts",
        "rounds": 2,
        "fleet.devices": 3,
        "fleet.tasks": ["reading", "addition", "reading"],
    }
    books, mesh = method_costs(with_values(c.RunConfig(), changes)).accounts, mesh_of(line_mesh(3))
    assert not books.sent(mesh, 0).bits.any()
    books = books.after(mesh, mesh.linked, 0)
    # Reading goes from 0 to 1, addition from 1 to both.
    links = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]])
    assert (books.sent(mesh, 1).bits == 16 * FULL * links).all()
    assert (books.sent(mesh, 1).values == FULL * links).all()
    hops = {(device, task): path for device, task, path in expert_paths(mesh, np.array([0, 1, 0]))}
    assert hops == {(1, 0): ((1, 0),), (0, 1): ((0, 1),), (2, 1): ((2, 1),)}


def test_accounts_are_values():
    changes = {"fleet.devices": 3, "method.library_every": 1}
    books, mesh = method_costs(with_values(c.RunConfig(), changes)).accounts, mesh_of(full_mesh(3))
    for _ in range(2):
        after = books.after(mesh, mesh.linked, 0)
        relayed = after.relayed(mesh).bits
        assert not after.after_relay(mesh, mesh.linked).relayed(mesh).bits.any()
        assert (after.relayed(mesh).bits == relayed).all()
        assert relayed.any()


# The library.


def shelved(slot: list[int], slots: int, round_index: int = 0) -> Library:
    """Every device has published, and knows nobody else."""
    n = len(slot)
    return published(
        empty_library(n, slots),
        np.arange(n) + 100,
        np.eye(n, dtype=bool),
        np.array(slot),
        round_index,
    )


def plain_pulls(
    library: Library, linked: Bool[np.ndarray, "n n"], slot: Int64[np.ndarray, " n"]
) -> list[tuple[int, int, int, int, int]]:
    """(receiver, sender, slot, copy, offers) by the rule as it reads, one place at a time."""

    def age(device: int, place: int) -> int:
        copy = library.held[device, place]
        return NOTHING if copy == NOTHING else int(library.version[copy])

    n, slots = library.held.shape
    asked, found = dict.fromkeys(range(n), 0), []
    for receiver in range(n):
        for place in range(slots):
            if place == slot[receiver]:
                continue
            near = [j for j in range(n) if linked[receiver, j]]
            offers = [j for j in near if age(j, place) > age(receiver, place)]
            if offers:
                newest = max(age(j, place) for j in offers)
                best = [j for j in offers if age(j, place) == newest]
                sender = min(best, key=lambda j: (asked[j], j))
                asked[sender] += 1
                copy = int(library.held[sender, place])
                found.append((receiver, sender, place, copy, len(offers)))
    return found


def rows(asked: Pulls) -> list[tuple[int, int, int, int, int]]:
    """The same of the fast way."""
    columns = (asked.receiver, asked.sender, asked.slot, asked.copy, asked.offers)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 6))
def test_pulls_are_those_of_the_plain_loops(seed, devices, slots):
    """Over some rounds of publishing, losses and hops, in meshes of any density."""
    draw = np.random.default_rng(seed)
    slot = draw.integers(slots, size=devices)
    library, members = empty_library(devices, slots), np.eye(devices, dtype=bool)
    for t in range(3):
        linked = draw.random((devices, devices)) < draw.random()
        linked = (linked | linked.T) & ~np.eye(devices, dtype=bool)
        library = published(library, np.full(devices, 5), members, slot, t)
        for _ in range(3):
            asked = pulls(library, linked, slot)
            assert rows(asked) == plain_pulls(library, linked, slot)
            library = copied(library, asked, linked & (draw.random(linked.shape) < 0.7))


def test_pulls_do_not_depend_on_how_many_receivers_are_looked_at_together():
    """300 devices with 60 places are compared in parts."""
    draw = np.random.default_rng(1)
    slot = draw.integers(60, size=300)
    linked = draw.random((300, 300)) < 0.02
    linked = (linked | linked.T) & ~np.eye(300, dtype=bool)
    library = shelved(slot.tolist(), 60)
    assert rows(pulls(library, linked, slot)) == plain_pulls(library, linked, slot)


def test_a_copy_introduces_its_members_to_whoever_heard_it():
    slot = np.array([0, 0, 1])
    members = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    library = published(empty_library(3, 2), np.full(3, 9), members, slot, 0)
    asked = pulls(library, line_mesh(3), slot)
    heard = line_mesh(3)
    heard[1, 2] = False
    assert copied(library, asked, heard).met.tolist() == [
        [KNOWN, STRANGER, STRANGER],
        [STRANGER, KNOWN, STRANGER],
        [KNOWN, KNOWN, KNOWN],
    ]


def test_new_masks_leave_a_known_and_strangers_strange():
    library = replace(
        empty_library(3, 1), met=np.array([[KNOWN, KNOWN, 0], [OLD_MASK, KNOWN, 0], [0, 0, KNOWN]])
    )
    assert with_new_masks(library).met.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 2]]


def test_copies_that_nobody_holds_are_dropped_and_the_others_keep_their_origin():
    slot = np.array([0, 1])
    library = shelved([0, 1], 2)
    library = copied(library, pulls(library, full_mesh(2), slot), full_mesh(2))
    assert library.held.tolist() == [[0, 1], [0, 1]]
    # The second round replaces the own ones; the old copies stay where they were received.
    again = published(library, np.array([7, 8]), np.eye(2, dtype=bool), slot, 1)
    assert again.held.tolist() == [[2, 1], [0, 3]]
    assert again.values.tolist() == [100, 101, 7, 8]
    done = copied(again, pulls(again, full_mesh(2), slot), full_mesh(2))
    assert done.held.tolist() == [[0, 1], [0, 1]]
    assert done.values.tolist() == [7, 8]
    assert done.origin.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("rounds", "every", "expected"),
    [(20, 5, [4, 9, 14, 19]), (20, 7, [6, 13, 19]), (20, 1000, [19]), (3, 1, [0, 1, 2])],
)
def test_experts_are_published_every_so_many_rounds_and_in_the_last(rounds, every, expected):
    assert [t for t in range(rounds) if is_published(t, rounds, every)] == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, [0]),
        ({"mask_every": 2}, [0, 2, 4]),
        ({"density": 1.0, "mask_every": 2}, []),
        ({"density": 1.0, "mask": "disjoint"}, [0]),
    ],
)
def test_masks_are_drawn_when_the_rule_says_so(rule, expected):
    assert [t for t in range(6) if draws_masks(SoLora(**rule), t)] == expected
