"""Messages that are paid for and change nobody: said in the plan and while the run goes on."""

from typing import Any

import numpy as np
import pytest

from meshtune.engine.commands.plan_table import fact_table
from meshtune.engine.config import RunConfig
from meshtune.engine.planning.plan import plan
from meshtune.engine.records import LinkRecord, RoundRecord
from meshtune.engine.topology.mixing import averaged_links
from meshtune.engine.unmixed import UnmixedWatch, unmixed
from tests.support.builders import sample_record, tiny_config
from tests.support.methods import full_mesh, one_way_ring


def heard_on(config: RunConfig, heard: Any, round_index: int = 0) -> RoundRecord:
    """A record of a full mesh in which these messages came through."""
    known = sample_record(config, round_index)
    links = tuple(
        link.model_copy(update={"delivered": bool(heard[link.receiver, link.sender])})
        for link in known.links
    )
    assert all(isinstance(link, LinkRecord) for link in links)
    return known.model_copy(update={"links": links})


BOTH_WAYS = [
    {"method__kind": kind}
    for kind in ("lora_gossip", "ffa_gossip", "decaf_gossip", "lori", "full_gossip", "choco_gossip")
] + [
    {"method__kind": "so_lora"},
    {"mixing__rule": "max_degree"},
]
ONE_WAY_DOES = [
    {"mixing__rule": "uniform"},
    {"mixing__rule": "push_sum"},
    {"method__kind": "so_lora", "method__mode": "repaired"},
    {"method__kind": "local"},
    {"method__kind": "oracle_experts"},
]


@pytest.mark.parametrize("changes", BOTH_WAYS, ids=str)
def test_links_heard_one_way_change_nobody_where_both_ways_are_wanted(
    changes: dict[str, Any],
) -> None:
    config = tiny_config(fleet__devices=4, topology__kind="full", **changes)
    why = unmixed(config, heard_on(config, one_way_ring(4)))
    assert why is not None
    assert "nothing is averaged" in why
    assert unmixed(config, heard_on(config, full_mesh(4))) is None


@pytest.mark.parametrize("changes", ONE_WAY_DOES, ids=str)
def test_it_is_no_warning_where_one_way_is_enough_or_nothing_is_to_be_averaged(
    changes: dict[str, Any],
) -> None:
    config = tiny_config(fleet__devices=4, topology__kind="full", **changes)
    assert unmixed(config, heard_on(config, one_way_ring(4))) is None


def test_clusters_of_one_have_nobody_to_average_with() -> None:
    config = tiny_config(fleet__devices=4, method__kind="so_lora")
    assert averaged_links(config, full_mesh(4), full_mesh(4), np.arange(4)) is None


@pytest.mark.parametrize(
    ("a_init", "averages"),
    [("orthonormal", False), ("task", False), ("device", False), ("common", True)],
)
def test_experts_of_different_tasks_stay_apart_and_that_is_no_loss(
    a_init: str, averages: bool
) -> None:
    # They meet in the library instead, which takes more hops than the first.
    config = tiny_config(method__kind="so_lora", method__a_init=a_init)
    together = np.zeros(2, dtype=np.int64)
    found = averaged_links(config, full_mesh(2), full_mesh(2), together)
    assert (found is not None and bool(found.any())) == averages
    assert (unmixed(config, heard_on(config, np.zeros((2, 2), dtype=bool))) is None) != averages
    assert plan(config).notes == ()


def test_it_is_said_once_and_after_some_rounds_only() -> None:
    config = tiny_config(fleet__devices=4, rounds=9)
    watch = UnmixedWatch(config)
    heard = [one_way_ring(4), full_mesh(4), *[one_way_ring(4)] * 5]
    told = [watch.look(heard_on(config, table, t)) for t, table in enumerate(heard)]
    assert [t for t, said in enumerate(told) if said] == [4]
    assert str(told[4]).startswith("rounds 3 to 5: messages are paid for")
    assert "uniform or push_sum" in str(told[4])


def test_the_plan_says_that_lost_directions_average_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def one_way(config: Any, linked: Any, heard: Any, cluster: Any) -> Any:
        return averaged_links(config, linked, heard & one_way_ring(len(heard)), cluster)

    config = tiny_config(fleet__devices=4, topology__kind="full")
    assert plan(config).notes == ()
    monkeypatch.setattr("meshtune.engine.planning.dry_run.averaged_links", one_way)
    [note] = plan(config).notes
    assert note.field == "mixing.rule"
    assert "heard one way only" in note.sentence


def test_the_plan_names_tasks_and_hardware_that_nobody_holds() -> None:
    config = tiny_config(
        fleet__tasks=["reading", "addition", "ending", "reading"],
        fleet__hardware=["midrange", "entry", "wearable"],
    )
    planned = plan(config)
    assert [note.field for note in planned.notes] == ["fleet.tasks", "fleet.hardware"]
    tasks, hardware = (note.sentence for note in planned.notes)
    assert "2 devices take the first 2 of 4 tasks; nobody holds ending;" in tasks
    assert "nobody holds wearable" in hardware
    cells = [str(cell) for column in fact_table(planned, config).columns for cell in column.cells]
    assert any("nobody holds ending" in cell for cell in cells)
