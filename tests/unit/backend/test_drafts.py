"""Designing by hand over HTTP: drafts, suggested clusters, links by distance, mesh files."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from meshtune.backend.app import create_app
from meshtune.backend.schemas.drafts import ClustersOut, DraftOut, LinkCurveOut
from meshtune.backend.settings import Settings
from meshtune.db.drafts import KEPT_DAYS, Draft
from meshtune.db.session import writing
from meshtune.engine.config import RunConfig


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def drawn(places: list[tuple[float, float]], **changes: Any) -> dict[str, Any]:
    tree = {
        "topology": {
            "kind": "drawn",
            "positions": [{"x_m": x, "y_m": y} for x, y in places],
            "links": [[i, i + 1] for i in range(len(places) - 1)],
        },
        "fleet": {"devices": len(places), "tasks": ["reading", "addition"]},
        "method": {"kind": "so_lora", "density": 0.2},
        **changes,
    }
    return RunConfig.model_validate(tree).model_dump(mode="json")


def test_a_draft_is_kept_as_it_is_and_changed_by_whoever_knows_it(api: TestClient) -> None:
    tree = {"rounds": -3, "anything": ["valid", "or not", "\u732b"]}
    made = api.post("/drafts", json={"tree": tree})
    assert made.status_code == 201
    draft = DraftOut.model_validate_json(made.content)
    assert draft.tree == tree
    path = f"/drafts/{draft.id}"
    saved = api.put(path, json={"tree": {"rounds": 4}, "version": draft.version})
    assert saved.json()["version"] == draft.version + 1
    late = api.put(path, json={"tree": {"rounds": 5}, "version": draft.version})
    assert late.status_code == 409
    assert "another tab" in late.json()["detail"]
    assert DraftOut.model_validate_json(api.get(path).content).tree == {"rounds": 4}
    assert api.get("/drafts/999").status_code == 404


def test_a_draft_that_nobody_used_for_long_goes(api: TestClient) -> None:
    first = api.post("/drafts", json={"tree": {}}).json()["id"]
    long_ago = datetime.now(UTC) - timedelta(days=KEPT_DAYS + 1)
    with writing(api.app.state.engine) as session:  # type: ignore[attr-defined]
        session.execute(update(Draft).values(updated_at=long_ago))
    second = api.post("/drafts", json={"tree": {}}).json()["id"]
    assert second > first
    assert api.get(f"/drafts/{first}").status_code == 404


def test_clusters_are_suggested_step_by_step(api: TestClient) -> None:
    places = [(0.0, 0.0), (5.0, 0.0), (200.0, 0.0), (205.0, 0.0)]
    body = {"config": drawn(places), "collision_max": 0.5}
    told = ClustersOut.model_validate_json(api.post("/topology/clusters", json=body).content)
    assert len(told.clusters) == 4
    assert len(told.merges) == 4 - len(set(told.clusters))
    assert all(merge.collision <= 0.5 for merge in told.merges)
    inside = {(0, 1), (2, 3)} if told.clusters == [0, 0, 1, 1] else set()
    assert inside <= set(told.links)
    none = {"config": drawn(places), "collision_max": 0.0}
    alone = ClustersOut.model_validate_json(api.post("/topology/clusters", json=none).content)
    assert alone.clusters == [0, 1, 2, 3]


def test_clusters_need_a_drawing(api: TestClient) -> None:
    config = RunConfig().model_dump(mode="json")
    answer = api.post("/topology/clusters", json={"config": config})
    assert answer.status_code == 422
    assert "draw one first" in answer.json()["detail"]


@pytest.mark.parametrize("channel", [{"kind": "paper"}, {"kind": "radio"}])
def test_links_get_worse_with_distance(api: TestClient, channel: dict[str, Any]) -> None:
    config = RunConfig.model_validate({"channel": channel}).model_dump(mode="json")
    answer = api.post("/topology/link-curve", json=config)
    told = LinkCurveOut.model_validate_json(answer.content)
    levels = [level for level in told.snr_db if level is not None]
    assert levels[0] > levels[len(levels) // 2] > levels[-1]
    near, far = told.outage_prob[0], told.outage_prob[-1]
    assert near is not None
    assert far is not None
    assert far > near
    assert told.range_m is None or told.distance_m[0] <= told.range_m <= told.distance_m[-1]


def test_an_ideal_link_has_no_level(api: TestClient) -> None:
    config = RunConfig.model_validate({"channel": {"kind": "ideal"}}).model_dump(mode="json")
    told = api.post("/topology/link-curve", json=config).json()
    assert set(told["snr_db"]) == {None}
    assert told["range_m"] is None


@pytest.mark.parametrize("form", ["json", "graphml"])
def test_a_mesh_goes_out_and_comes_in_as_it_was(api: TestClient, form: str) -> None:
    topology = drawn([(0.0, 1.5), (5.0, 0.0), (9.0, 9.0)])["topology"]
    tasks = ["reading", "addition", "reading"]
    body = {"format": form, "topology": topology, "tasks": tasks}
    text = api.post("/topology/export", json=body).json()["text"]
    back = api.post("/topology/import", json={"format": form, "text": text}).json()
    assert back["topology"]["positions"] == topology["positions"]
    assert back["topology"]["links"] == topology["links"]
    assert back["tasks"] == tasks
    short = {**body, "tasks": ["reading"]}
    assert api.post("/topology/export", json=short).status_code == 422
