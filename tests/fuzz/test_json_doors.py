"""Every address that takes JSON refuses in a sentence what no JSON may hold, wherever it stands."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from meshtune.backend.app import create_app
from meshtune.backend.guards.json_bodies import LEVELS_MAX, first_problem
from meshtune.backend.schemas.runs import Problem
from meshtune.backend.settings import Settings, open_store
from meshtune.db.session import reading
from tests.support.builders import stored_run

OPENAPI = create_app(Settings()).openapi()
DOORS = sorted(
    (method.upper(), path)
    for path, operations in OPENAPI["paths"].items()
    for method, operation in operations.items()
    if "application/json" in operation.get("requestBody", {}).get("content", {})
)
FINITE, WHOLE, FLAT = "finite number", "half a character", "nests deeper than 200 levels"
POISONS = {
    "NaN": FINITE,
    "Infinity": FINITE,
    "-Infinity": FINITE,
    "1e400": FINITE,
    "-1e400": FINITE,
    "9" * 400 + ".0": FINITE,
    r'"\ud800"': WHOLE,
    r'"so \udfff far"': WHOLE,
    r'{"\udc00": 1}': WHOLE,
    "[" * 500 + "]" * 500: FLAT,
    '{"a":' * 500 + "1" + "}" * 500: FLAT,
    "[" * 100_000 + "]" * 100_000: FLAT,
}
DEPTH = 3  # of the fields that are tried by name


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("doors"), writes_per_s=1e6, writes_burst=10**6
    )
    store = open_store(settings)
    stored_run(store)
    store.dispose()
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        assert client.post("/drafts", json={"tree": {}}).status_code == 201
        yield client


def test_all_doors_are_known() -> None:
    assert {("POST", "/runs"), ("PATCH", "/runs/{run_id}"), ("PUT", "/drafts/{draft_id}")} < {
        *DOORS
    }
    assert len(DOORS) >= 10


def fields(schema: dict[str, Any], depth: int = DEPTH) -> Iterator[tuple[str, ...]]:
    """Names on the way to every field of a body, as deep as `depth`."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = OPENAPI["components"]["schemas"][name]
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from fields(branch, depth)
    for name, inner in schema.get("properties", {}).items():
        yield (name,)
        if depth > 1:
            for way in fields(inner, depth - 1):
                yield (name, *way)


def ways(method: str, path: str) -> list[tuple[str, ...]]:
    content = OPENAPI["paths"][path][method.lower()]["requestBody"]["content"]
    found = {*fields(content["application/json"]["schema"])}
    return [(), ("of nobody",), ("tree", "deep", "inside"), *sorted(found)]


@pytest.mark.parametrize("poison", POISONS, ids=lambda text: text[:12])
@pytest.mark.parametrize(("method", "path"), DOORS)
def test_every_door_refuses_in_a_sentence(
    api: TestClient, method: str, path: str, poison: str
) -> None:
    address = path.replace("{run_id}", "1").replace("{draft_id}", "1").replace("{sweep_id}", "1")
    assert "{" not in address
    for way in ways(method, path):
        text = poison
        for name in reversed(way):
            text = f'{{"{name}": {text}}}'
        answer = api.request(
            method, address, content=text, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422, (way, answer.text[:300])
        told = Problem.model_validate_json(answer.content)
        assert told.error == "InvalidInput"
        assert POISONS[poison] in told.detail
        assert len(told.detail) < 500
        if poison[0] not in "[{":  # else what is wrong has a longer name
            shown = way[1:] if len(way) > 1 and way[0] == "config" else way or ("body",)
            assert told.detail.startswith(".".join(shown) + ": ")
    with reading(api.app.state.engine) as session:  # type: ignore[attr-defined]
        assert session.connection().exec_driver_sql("SELECT count(*) FROM runs").scalar() == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_whole_json_passes_in_every_encoding_of_the_parser(encoding: str) -> None:
    deep: Any = 0
    for _ in range(LEVELS_MAX - 1):
        deep = [deep]
    good = {"a": [1e308, -0.0, 5e-324, 10**30, "\N{CAT FACE}", "\0", None, True], "b": deep}
    assert first_problem(json.dumps(good).encode(encoding)) is None
    assert first_problem(json.dumps(good, ensure_ascii=False).encode(encoding)) is None


@pytest.mark.parametrize("text", [b"", b"{", b'{"a": 1,}', b'{"a":"\xff"}', b"\xff", b"nonsense"])
def test_what_is_no_json_is_left_to_the_parser(text: bytes) -> None:
    assert first_problem(text) is None


def test_a_deep_draft_that_passes_comes_back(api: TestClient) -> None:
    tree: Any = 1
    for _ in range(LEVELS_MAX - 2):
        tree = {"a": tree}
    made = api.post("/drafts", json={"tree": tree})
    assert made.status_code == 201
    assert api.get(f"/drafts/{made.json()['id']}").json()["tree"] == tree


@pytest.mark.parametrize("poison", POISONS, ids=lambda text: text[:12])
def test_a_mesh_inside_the_text_of_a_body_is_refused_in_a_sentence(
    api: TestClient, poison: str
) -> None:
    for text in (
        poison,
        f'{{"devices": {poison}}}',
        f'{{"devices": [{{"x_m": {poison}, "y_m": 0.0}}], "links": {poison}}}',
    ):
        answer = api.post("/topology/import", json={"format": "json", "text": text})
        assert answer.status_code == 422, answer.text[:300]
        assert len(answer.json()["detail"]) < 500
