"""The plan on screen: every number has a unit, a comparison and a help text."""

import pytest

from meshtune.dashboard.design.plans import Tile, cost_tiles, mesh_tiles
from meshtune.dashboard.look import format as fmt
from meshtune.engine.plans import Plan
from tests.support.fake_api import fake_config, fake_plan


def plain(text: str) -> str:
    return text.replace(fmt.SPACE, " ").replace(fmt.THIN, " ").replace(fmt.MINUS, "-")


def tiles_of(plan: Plan | None = None, **changes: object) -> dict[str, Tile]:
    config = fake_config(**changes)
    found = plan or fake_plan(config)
    return {tile.label: tile for tile in [*cost_tiles(found, config), *mesh_tiles(found)]}


def test_every_number_says_how_it_is_computed() -> None:
    for tile in tiles_of().values():
        assert tile.help.endswith(".")
        assert len(tile.help) > 30
        assert tile.value


def test_costs_are_against_plain_lora() -> None:
    tiles = tiles_of()
    assert plain(tiles["Bits sent"].under) == "-73 %"
    assert tiles["Compute energy"].under == "as plain LoRA"
    assert tiles_of(method={"kind": "lora_gossip"})["Bits sent"].under == "as plain LoRA"
    assert plain(tiles_of(method={"kind": "local"})["Bits sent"].value) == "0 bit"


def test_what_plain_lora_does_not_spend_is_no_percentage() -> None:
    plan = fake_plan(fake_config())
    free = plan.plain_lora.model_copy(update={"transmit_j": 0.0})
    tiles = tiles_of(plan.model_copy(update={"plain_lora": free}))
    assert tiles["Transmit energy"].under == "plain LoRA: none"


def test_nothing_sent_is_missing_and_not_zero() -> None:
    tile = tiles_of(method={"kind": "local"})["Delivered"]
    assert (tile.value, tile.under) == (fmt.MISSING, "nothing is sent")


@pytest.mark.parametrize(
    ("facts", "value", "under"),
    [
        ({"components": 1, "diameter": 1}, "1 hop", "all connected"),
        ({"components": 3, "diameter": None}, fmt.MISSING, "cut into 3 parts"),
    ],
)
def test_a_mesh_that_is_cut_has_no_diameter(
    facts: dict[str, object], value: str, under: str
) -> None:
    plan = fake_plan(fake_config())
    graph = plan.graph.model_copy(update=facts)
    tile = tiles_of(plan.model_copy(update={"graph": graph}))["Diameter"]
    assert (plain(tile.value), plain(tile.under)) == (value, under)


def test_collisions_name_the_clusters_they_are_in() -> None:
    plan = fake_plan(fake_config()).model_copy(update={"clusters": (0, 0, 1, 1, 2, 2, 3, 3)})
    tile = tiles_of(plan)["Collision"]
    assert (plain(tile.value), plain(tile.under)) == ("25.0 %", "4 clusters")
    assert tiles_of(method={"kind": "lora_gossip"})["Collision"].value == fmt.MISSING
