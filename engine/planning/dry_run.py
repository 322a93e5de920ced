"""Some rounds of a run on its real channel, without training: what the run will cost (M30)."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine import config as c
from meshtune.engine.channels import Channel
from meshtune.engine.channels.traffic import Traffic
from meshtune.engine.compute import compute_cost
from meshtune.engine.costs import method_costs
from meshtune.engine.topology import Mesh, build_mesh, period
from meshtune.engine.topology.changing import changing_mesh
from meshtune.engine.topology.mixing import averaged_links

# Work is counted in pairs of devices, over which every hop computes, plus what a hop costs anyway.
# A count and not a clock, so that one config has one answer.
PAIRS = 60_000
PAIRS_PER_HOP = 500
HOPS_OF_COPIES = 6  # a guess, for rounds in which copies travel
LEAST_LOSSY = 2  # rounds of a class, once a message was lost

MeshOf = Callable[[int], Mesh]  # of a round
RoundClass = tuple[Hashable, ...]


@dataclass(frozen=True)
class AirCost:
    """What one round costs, or the sum or mean of some; hence no whole numbers.

    `values` are adapter values on air, `attempted` and `heard` messages. `compute_s` is that of the
    slowest device, `round_s` the slowest path: compute, wait, send. `could_mix` is 1 in a round
    whose links could enter an average, `mixed` counts those that do.
    """

    values: float
    payload_bits: float
    airtime_s: float
    bandwidth_time_hz_s: float
    transmit_j: float
    receive_j: float
    compute_j: float
    compute_s: float
    round_s: float
    attempted: float
    heard: float
    could_mix: float
    mixed: float

    @property
    def delivered_fraction(self) -> float | None:
        """Messages heard of messages sent; None if nothing was sent."""
        return self.heard / self.attempted if self.attempted else None


@dataclass(frozen=True)
class DryRun:
    """Costs of the rounds `played`, one row each.

    `kind[s]` is the class of the s-th round played; the first round is class 0 alone. `rounds[k]`
    counts the rounds of class k in the whole run.
    """

    played: tuple[int, ...]
    costs: Float64[np.ndarray, "s numbers"]
    kind: Int64[np.ndarray, " s"]
    rounds: Int64[np.ndarray, " k"]

    @property
    def first(self) -> AirCost:
        return AirCost(*self.costs[0].tolist())

    @property
    def later(self) -> AirCost:
        """Mean over the rounds after the first; all zero if there are none."""
        return AirCost(*(self._after_first() / max(1, int(self.rounds.sum()) - 1)).tolist())

    @property
    def total(self) -> AirCost:
        return AirCost(*(self.costs[0] + self._after_first()).tolist())

    def _after_first(self) -> Float64[np.ndarray, " numbers"]:
        # Count times mean, so that equal whole numbers stay whole.
        total = np.zeros(self.costs.shape[1])
        for kind in range(1, len(self.rounds)):
            total += self.rounds[kind] * self.costs[self.kind == kind].mean(axis=0)
        return total


def dry_run(
    config: c.RunConfig,
    mesh_of: MeshOf,
    channel: Channel,
    pairs: int = PAIRS,
    among: Sequence[int] | None = None,
) -> DryRun:
    """What the run of `config` will cost, from some of its rounds (docs/model.md M30).

        total = sum over classes k of (rounds of class k) x (mean cost of those played)

    Rounds of a class send alike (`round_classes`). If all rounds fit into the budget, all are
    played. Else it is the first rounds of every class, equally many, one at least and two once a
    message was lost. Fading, shadowing, places and absences are those of the run itself: a run that
    is played whole is foreseen exactly. Of others, bits are exact where no message is lost and
    links stay; all else is an estimate with the spread of the rounds played. Where most messages
    are lost, copies need some publications to spread, and few rounds show too few of them. Our
    choice throughout.

    Args:
        config: the experiment.
        mesh_of: mesh of a round, those links only that are up in it.
        channel: the channel of the experiment.
        pairs: budget. A hop costs devices squared and 500.
        among: rounds to choose from, at least one of every class; all if None.
    """
    classes = round_classes(config)
    choice = range(config.rounds) if among is None else among
    hop = config.fleet.devices**2 + PAIRS_PER_HOP
    work = [hop * hops_expected(config, t) for t in choice]
    kinds = [classes[t] for t in choice]
    surely, at_most = (rounds_to_play(kinds, work, pairs, least) for least in (1, LEAST_LOSSY))
    played: list[int] = []
    costs: list[AirCost] = []

    def due() -> Iterator[int]:
        for place in at_most:
            if place in surely or any(cost.heard < cost.attempted for cost in costs):
                played.append(choice[place])
                yield choice[place]

    for cost in _played(config, mesh_of, channel, due()):
        costs.append(cost)  # noqa: PERF402 - `due` looks at them meanwhile
    count = Counter(classes)
    number = {key: index for index, key in enumerate(count)}
    return DryRun(
        played=tuple(played),
        costs=np.stack([_numbers(cost) for cost in costs]),
        kind=np.array([number[classes[t]] for t in played]),
        rounds=np.array(list(count.values())),
    )


def round_classes(config: c.RunConfig) -> list[RoundClass]:
    """Class of every round: rounds of one class send alike, as long as nothing is lost.

    Told apart are the first round; rounds in which masks are drawn; rounds in which links are used
    for the first time, or since masks were drawn; rounds of an occasion of their method, such as
    experts that are published, for the first time, since masks were drawn, or again; and the rounds
    of a mesh whose links alternate.
    """
    costs, again = method_costs(config), period(config)
    classes: list[RoundClass] = []
    drawn, last = 0, dict[Hashable, int]()  # the last round of every occasion
    for t in range(config.rounds):
        if costs.warm_up_steps(t):
            drawn = t
        occasion, known = costs.occasion(t), 0
        if occasion:
            before = last.get(occasion, -1)
            known = 1 + (before >= 0) + (before >= drawn)
            last[occasion] = t
        strange = (t < again, t - drawn < again) if costs.introduces else (False, False)
        classes.append((t == 0, t == drawn, t % again, occasion, known, *strange))
    return classes


def rounds_to_play(
    classes: Sequence[RoundClass], work: Sequence[int], budget: int, least: int = 1
) -> tuple[int, ...]:
    """All rounds if their work is within the budget, else the first few of every class.

    Equally many of every class, as far as it has so many and the budget lasts; `least` at least.
    """
    if sum(work) <= budget:
        return tuple(range(len(classes)))
    seen: Counter[RoundClass] = Counter()
    rank = []
    for key in classes:
        rank.append(seen[key])
        seen[key] += 1
    by_rank = np.bincount(rank, weights=np.asarray(work, dtype=np.float64))
    each = max(least, int((by_rank.cumsum() <= budget).sum()))
    return tuple(t for t, place in enumerate(rank) if place < each)


def hops_expected(config: c.RunConfig, round_index: int) -> int:
    """Hops that a round is counted as, before it is known how far its copies travel."""
    return 1 + HOPS_OF_COPIES * method_costs(config).relays(round_index)


def round_meshes(config: c.RunConfig) -> MeshOf:
    """The mesh of every round: where devices are, and which links are up (M23, M25, M26).

    Clusters that count real masks, or densities by spectrum, are formed from the mean density: the
    rest is not known before the run.

    Raises:
        AssetMissing: a file that the config names is not there.
        ConfigMismatch: a file does not fit the devices, or devices are too fast for their area.
    """
    first = build_mesh(config)
    changing = changing_mesh(config, first)
    relinked = 0 if isinstance(config.mobility, c.Static) else config.mobility.relink_every

    @cache
    def formed_in(round_index: int) -> Mesh:
        return changing.at(first, round_index)

    @cache
    def mesh_of(round_index: int) -> Mesh:
        since = round_index - round_index % relinked if relinked else 0
        mesh = formed_in(since)
        if since != round_index:
            mesh = changing.at(mesh, round_index)
        return changing.usable(mesh, round_index)

    return mesh_of


def play_on_air(
    config: c.RunConfig, mesh_of: MeshOf, channel: Channel, rounds: Iterable[int]
) -> Iterator[tuple[int, Traffic]]:
    """Rounds in order, and their traffic.

    As in the round loop: devices send when they have trained, copies travel on when the hop before
    has ended, and links on which a message was lost stay silent for the rest of the round.
    """
    books = method_costs(config).accounts
    for t in rounds:
        mesh = mesh_of(t)
        ready_s = compute_cost(config, t).seconds
        messages = books.sent(mesh, t)
        hop = channel.deliver(mesh.positions, messages.bits, t, ready_s=ready_s)
        books = books.after(mesh, hop.heard, t)
        traffic = Traffic((hop,), (messages.values,), ready_s)
        while True:
            near = replace(mesh, linked=mesh.linked & ~traffic.failed)
            messages = books.relayed(near)
            if not messages.bits.any():
                break
            ready_s = traffic.next_s
            hop = channel.deliver(mesh.positions, messages.bits, t, ready_s=ready_s, alike=False)
            books = books.after_relay(near, hop.heard)
            traffic = traffic.followed_by(hop, messages.values)
        yield t, traffic


def _played(
    config: c.RunConfig, mesh_of: MeshOf, channel: Channel, rounds: Iterable[int]
) -> Iterator[AirCost]:
    for t, traffic in play_on_air(config, mesh_of, channel, rounds):
        compute = compute_cost(config, t)
        mesh, first = mesh_of(t), traffic.deliveries[0]
        mixed = averaged_links(config, mesh.linked, first.heard, mesh.cluster)
        yield AirCost(
            values=float(traffic.sender_values.sum()),
            payload_bits=float(traffic.sender_bits.sum()),
            airtime_s=traffic.airtime_s,
            bandwidth_time_hz_s=traffic.bandwidth_time_hz_s,
            transmit_j=float(traffic.link_energy_j.sum()),
            receive_j=float(traffic.link_receive_j.sum()),
            compute_j=float(compute.joules.sum()),
            compute_s=float(compute.seconds.max()),
            round_s=traffic.round_s,
            attempted=float(sum(hop.attempted.sum() for hop in traffic.deliveries)),
            heard=float(sum(hop.heard.sum() for hop in traffic.deliveries)),
            could_mix=float(mixed is not None),
            mixed=0.0 if mixed is None else float(mixed.sum()),
        )


def _numbers(cost: AirCost) -> Float64[np.ndarray, " numbers"]:
    return np.array([getattr(cost, part.name) for part in fields(cost)], dtype=np.float64)
