"""Topologies: where the devices stand and who may talk to whom."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, model_validator

from meshtune.engine.fields import OUR_CHOICE, Finite, Metres, Part, matters_if, unit
from meshtune.engine.kinds import Area, TopologyKind, TopologyPart, stays


class Ring(Area):
    """Devices on a circle, each linked to its two neighbours."""

    kind: Literal["ring"] = "ring"


class Full(Area):
    """Devices at random places, every pair linked."""

    kind: Literal["full"] = "full"


class Star(Area):
    """Device 0 in the centre, linked to all others; the others only to it."""

    kind: Literal["star"] = "star"


class Geometric(Area):
    """Devices at random places, linked when closer than the range."""

    kind: Literal["geometric"] = "geometric"
    range_m: Metres = Field(
        80.0,
        gt=0,
        le=200_000,
        title="Link range",
        description="Devices closer than this are linked. Nearest neighbours are added where the "
        "mesh would fall apart.",
    )


class Clusters(Area):
    """Devices in groups: every pair linked inside, one gateway link between neighbouring groups."""

    kind: Literal["clusters"] = "clusters"
    clusters: int = Field(
        4,
        ge=1,
        le=64,
        title="Clusters",
        description="Number of groups. More groups mean fewer links and a slower spread.",
        json_schema_extra=matters_if("by", one_of=("place",)),
    )
    by: Literal["task", "place"] = Field(
        "task",
        title="Group by",
        description="Put devices of one task together (then the number of groups is the number of "
        "tasks), or deal them out regardless of task.",
    )


class Point(Part):
    """A place on the map."""

    x_m: Metres = Field(0.0, ge=-100_000, le=100_000, title="East")
    y_m: Metres = Field(0.0, ge=-100_000, le=100_000, title="North")


class Drawn(TopologyPart):
    """Positions and links as somebody drew them."""

    kind: Literal["drawn"] = "drawn"
    positions: tuple[Point, ...] = Field(
        (Point(x_m=0, y_m=0), Point(x_m=30, y_m=0)),
        min_length=1,
        max_length=256,
        title="Positions",
        description="One place per device, in metres.",
    )
    links: tuple[tuple[int, int], ...] = Field(
        ((0, 1),),
        title="Links",
        description="Pairs of devices that may talk, in both directions.",
    )

    @model_validator(mode="after")
    def _drawable(self) -> "Drawn":
        seen: dict[tuple[float, float], int] = {}
        for device, point in enumerate(self.positions):
            place = (point.x_m, point.y_m)
            if place in seen:
                raise ValueError(
                    f"devices {seen[place]} and {device} are in one place "
                    f"({point.x_m:g} m, {point.y_m:g} m); move one of them"
                )
            seen[place] = device
        pairs = set()
        for first, second in self.links:
            if first == second:
                raise ValueError(f"device {first} is linked to itself; remove that link")
            if not (0 <= first < len(self.positions) and 0 <= second < len(self.positions)):
                raise ValueError(
                    f"link {first}-{second} names a device that is not drawn; "
                    f"devices are 0 to {len(self.positions) - 1}"
                )
            pair = (min(first, second), max(first, second))
            if pair in pairs:
                raise ValueError(f"link {first}-{second} is drawn twice; remove one")
            pairs.add(pair)
        return self


class Random(Area):
    """Devices at random places, each linked to some others drawn by lot within radio reach."""

    kind: Literal["random"] = "random"
    degree: int = Field(
        4,
        ge=1,
        le=255,
        title="Neighbours",
        description="Links that every device draws at least. Nearest neighbours are added where "
        "the mesh would fall apart.",
        json_schema_extra=OUR_CHOICE,
    )


class Agnes(Area):
    """The paper's clusters: merged bottom-up while their experts collide little.

    Every pair linked inside a cluster, one gateway link between neighbouring clusters.
    """

    kind: Literal["agnes"] = "agnes"
    collision_max: Finite = Field(
        0.3,
        ge=0,
        le=1,
        title="Largest collision rate",
        description="Clusters stop growing where two of their devices would write the same entry "
        "of B more often than this. 1 makes one cluster as long as power lasts.",
        json_schema_extra={**unit("share"), **OUR_CHOICE},
    )
    collision: Literal["analytic", "empirical", "across_tasks"] = Field(
        "analytic",
        title="Collision counted",
        description="From the densities alone (the paper's Eq. 19), from the masks that were "
        "really drawn, or by Eq. 19 between tasks only: devices of one task mean the same by an "
        "entry.",
        json_schema_extra=OUR_CHOICE,
    )


class Line(Area):
    """Devices on a straight line, each linked to the next."""

    kind: Literal["line"] = "line"


class Grid(Area):
    """Devices on a square lattice, linked to those beside, above and below."""

    kind: Literal["grid"] = "grid"


class Torus(Area):
    """A grid whose opposite edges are linked as well: every device has the same neighbours."""

    kind: Literal["torus"] = "torus"


class KNearest(Area):
    """Devices at random places, each linked to those nearest to it."""

    kind: Literal["k_nearest"] = "k_nearest"
    neighbours: int = Field(
        4,
        ge=1,
        le=255,
        title="Neighbours",
        description="Every device links to so many of the nearest; a link made by one side serves "
        "both. Nearest neighbours are added where the mesh would fall apart.",
    )


class SpanningTree(Area):
    """Devices at random places, joined by the shortest tree: the fewest and shortest links."""

    kind: Literal["spanning_tree"] = "spanning_tree"


class ErdosRenyi(Area):
    """Devices at random places, every pair linked by chance, however far apart."""

    kind: Literal["erdos_renyi"] = "erdos_renyi"
    link_prob: Finite = Field(
        0.3,
        gt=0,
        le=1,
        title="Link probability",
        description="Chance that a pair is linked. The shortest further links join a mesh that "
        "would fall apart.",
        json_schema_extra=unit("probability"),
    )


class WattsStrogatz(Area):
    """A ring with links to several neighbours, of which some are bent to random devices."""

    kind: Literal["watts_strogatz"] = "watts_strogatz"
    neighbours: int = Field(
        4,
        ge=2,
        le=254,
        multiple_of=2,
        title="Neighbours on the ring",
        description="Half of them on each side, before links are bent. Even.",
    )
    bend_prob: Finite = Field(
        0.1,
        ge=0,
        le=1,
        title="Bent links",
        description="Chance that a link goes to a random device instead: shortcuts.",
        json_schema_extra=unit("probability"),
    )


class BarabasiAlbert(Area):
    """Devices join one by one and prefer those that have many links: a few become hubs."""

    kind: Literal["barabasi_albert"] = "barabasi_albert"
    links_each: int = Field(
        2,
        ge=1,
        le=128,
        title="Links per newcomer",
        description="Links that every joining device makes.",
    )


class Exponential(Area):
    """Devices on a circle, linked over distances 1, 2, 4, ...: few links, fast mixing."""

    kind: Literal["exponential"] = "exponential"
    variant: Literal["static", "one_peer"] = Field(
        "static",
        title="Links used",
        description="All of them in every round, or one distance per round in turn: a single "
        "message each.",
    )
    direction: Literal["both", "one_way"] = Field(
        "both",
        title="Direction",
        description="Messages both ways, or only forward as in the literature, which needs mixing "
        "weights for directed links (uniform or push_sum).",
    )

    def period(self, devices: int) -> int:
        """Rounds after which the distances repeat; 1 if all of them are used in every round."""
        return max(1, self.distances(devices)) if self.variant == "one_peer" else 1

    @staticmethod
    def distances(devices: int) -> int:
        """How many powers of two are less than `devices`: the rounded-up base-2 logarithm."""
        return (devices - 1).bit_length()


class KMeans(Area):
    """Random places in groups by distance (k-means): full meshes inside, gateways between."""

    kind: Literal["k_means"] = "k_means"
    clusters: int = Field(
        4,
        ge=1,
        le=64,
        title="Clusters",
        description="Number of groups of near devices, whatever their tasks.",
    )


def _row(
    part: type[TopologyPart],
    places: str,
    mesh: str,
    *,
    groups: bool = False,
    follows_places: bool = False,
    period: Callable[[Any, int], int] = stays,
) -> TopologyKind:
    return TopologyKind(
        config=part,
        places=f"meshtune.engine.topology.places:{places}",
        mesh=f"meshtune.engine.topology.graphs:{mesh}",
        groups=groups,
        follows_places=follows_places,
        period=period,
    )


# In the order of forms.
TOPOLOGIES = (
    _row(Ring, "circle", "lattice"),
    _row(Line, "row", "lattice"),
    _row(Star, "around", "lattice"),
    _row(Full, "disc", "lattice"),
    _row(Grid, "lattice", "lattice"),
    _row(Torus, "lattice", "lattice"),
    _row(Geometric, "disc", "by_place", follows_places=True),
    _row(KNearest, "disc", "by_place", follows_places=True),
    _row(SpanningTree, "disc", "by_place", follows_places=True),
    _row(Random, "disc", "by_place", follows_places=True),
    _row(ErdosRenyi, "disc", "by_lot"),
    _row(WattsStrogatz, "circle", "by_lot"),
    _row(BarabasiAlbert, "disc", "by_lot"),
    _row(Exponential, "circle", "powers", period=Exponential.period),
    _row(Clusters, "groups", "grouped", groups=True),
    _row(KMeans, "disc", "grouped", groups=True, follows_places=True),
    _row(Agnes, "disc", "grouped", groups=True, follows_places=True),
    _row(Drawn, "drawn", "drawn"),
)
