"""Files of rows over HTTP: kept whole or refused with a sentence, and shown as what is asked."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from meshtune.backend.app import create_app
from meshtune.backend.guards.limits import FILE_LIMITS
from meshtune.backend.settings import Settings
from meshtune.db import tokens
from meshtune.db.scopes import Scope
from meshtune.db.session import writing
from meshtune.engine.data.kept import data_folder
from tests.support.rows import arc, boolq, gsm8k, json_lines

MINE = {"prompt": "{q}", "answer": "{a}"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def api(state: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(state_dir=state)), raise_server_exceptions=False) as client:
        yield client


def put(api: TestClient, name: str, content: bytes) -> None:
    assert api.put(f"/data/{name}", content=content).status_code == 200


def shown(api: TestClient, path: str, **more: Any) -> dict[str, Any]:
    said = api.post("/data/preview", json={"path": path, **more})
    assert said.status_code == 200, said.json()
    found: dict[str, Any] = said.json()
    return found


def refused(api: TestClient, path: str, **more: Any) -> tuple[str, str]:
    """The field and the sentence of a refusal."""
    said = api.post("/data/preview", json={"path": path, **more})
    assert said.status_code == 422
    (wrong,) = said.json()["context"]["fields"]
    return wrong["field"], wrong["message"]


def test_a_file_is_kept_once_listed_and_never_replaced(api: TestClient) -> None:
    assert api.get("/data").json() == []
    for _ in range(2):
        said = api.put("/data/boolq.jsonl", content=boolq())
        assert said.json() == {"name": "boolq.jsonl", "bytes": len(boolq())}
    assert api.get("/data").json() == [{"name": "boolq.jsonl", "bytes": len(boolq())}]
    said = api.put("/data/boolq.jsonl", content=boolq(3))
    assert (said.status_code, said.json()["error"]) == (409, "NameTaken")
    assert (data_folder() / "boolq.jsonl").read_bytes() == boolq()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (".hidden", b"a,b\n1,2\n", "is no name"),
        ("%C3%A4.csv", b"a,b\n1,2\n", "is no name"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b" \n", "is empty"),
        ("a.jsonl", b"no JSON\n{\n", "no row that can be used: line 1: it is not JSON"),
        ("a.parquet", b"PAR1 and no more", "a.parquet"),
    ],
)
def test_a_file_that_cannot_be_used_is_not_kept(
    api: TestClient, name: str, content: bytes, said: str
) -> None:
    answer = api.put(f"/data/{name}", content=content)
    assert answer.status_code == 422
    (wrong,) = answer.json()["context"]["fields"]
    assert wrong["field"] == "name"
    assert said in wrong["message"]
    assert not data_folder().exists()


def test_a_name_with_a_folder_is_another_address(api: TestClient) -> None:
    assert api.put("/data/..%2Fa.csv", content=b"a,b\n1,2\n").status_code == 404
    assert not data_folder().exists()


def test_a_file_that_is_too_large_is_not_read(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(api, "large.jsonl", json_lines({"q": "x" * 1000, "a": f"{n}"} for n in range(2000)))
    small = FILE_LIMITS["PUT", "/data/{name}"]._replace(bytes=10)
    monkeypatch.setitem(FILE_LIMITS, ("PUT", "/data/{name}"), small)
    for content in (boolq(), iter([boolq()])):  # with and without a length in its header
        said = api.put("/data/boolq.jsonl", content=content)
        assert (said.status_code, said.json()["error"]) == (413, "BodyTooLarge")
        assert "meshtune data add" in said.json()["detail"]


@pytest.mark.parametrize(
    ("content", "template", "row"),
    [
        (boolq(), "boolq", ("0 is 0.\nquestion: is 0 even?\nanswer:", "yes", ["no", "yes"])),
        (arc(), "arc_easy", ("question: what follows 0?\nanswer:", "1", ["1", "2"])),
        (gsm8k(), "gsm8k", ("question: 0 and 1?\nanswer:", "It is 1.\n#### 1", [])),
    ],
)
def test_a_published_set_is_known_by_its_columns(
    api: TestClient, content: bytes, template: str, row: tuple[str, str, list[str]]
) -> None:
    put(api, "rows.jsonl", content)
    found = shown(api, "rows.jsonl")
    assert found["template"] == template
    assert found["templates"][0]["name"] == template
    assert found["templates"][0]["fits"]
    assert found["fields"] == found["templates"][0]["fields"]
    first = found["rows"][0]
    assert (first["line"], first["prompt"], first["answer"], first["choices"]) == (1, *row)
    assert len(found["rows"]) == 10
    assert found["train"] + found["test"] == 20
    assert found["chance"] == (0.5 if row[2] else None)
    assert found["faults"] == []


def test_a_share_for_testing_and_a_split_part_the_rows(api: TestClient) -> None:
    put(api, "boolq.jsonl", boolq())
    assert shown(api, "boolq.jsonl", test_fraction=0.0)["test"] == 0
    assert shown(api, "boolq.jsonl", test_fraction=0.9)["test"] > 10
    rows = [{"q": f"{n // 2}", "a": "x", "part": ("train", "dev")[n % 2]} for n in range(4)]
    put(api, "split.jsonl", json_lines(rows))
    found = shown(api, "split.jsonl", **MINE, split="part")
    assert [row["held_out"] for row in found["rows"]] == [False, True] * 2
    assert (found["repeated"], found["leaks"]) == (2, 2)
    assert found["commonest"] == {"answer": "x", "share": 1.0}
    assert refused(api, "split.jsonl", **MINE, split="parts")[0] == "split"


def test_what_no_template_fits_has_its_columns_and_a_sentence(api: TestClient) -> None:
    put(api, "mine.csv", b"q,a\nwhat,that\n")
    found = shown(api, "mine.csv")
    assert found["columns"] == ["q", "a"]
    assert (found["rows"], found["fields"], found["commonest"]) == ([], None, None)
    assert "prompt and answer" in found["note"]
    assert not any(each["fits"] for each in found["templates"])


def test_a_template_whose_columns_fit_and_whose_rows_do_not_is_told(api: TestClient) -> None:
    put(api, "chat.jsonl", json_lines([{"question": "who?", "answer": "nobody"}]))
    found = shown(api, "chat.jsonl")
    assert found["fields"] is None
    assert "GSM8K" in found["note"]
    assert "has no number" in found["note"]


@pytest.mark.parametrize(
    ("asked", "field", "sentence"),
    [
        ({"prompt": "{Q}", "answer": "{a}"}, "prompt", "did you mean 'q'"),
        ({"prompt": "{q}", "answer": "{b}"}, "answer", "there is no column 'b'"),
        ({"prompt": "{q", "answer": "{a}"}, "prompt", "brace"),
        ({"prompt": "{q}"}, "answer", "is missing"),
        ({"prompt": "", "answer": "{a}"}, "prompt", "is empty"),
        ({**MINE, "score": "code"}, "score", "not run as programs"),
        ({**MINE, "choices": ["{q}", "no"]}, "path", "none of its 2 choices"),
        ({**MINE, "labels": ["A"]}, "labels", "there are none"),
        ({"template": "booq"}, "template", "did you mean boolq"),
        ({"template": "mbpp"}, "template", "not run as programs"),
        ({"template": "boolq"}, "prompt", "there is no column 'passage'"),
        ({**MINE, "test_fraction": 1.0}, "test_fraction", "less than 1"),
    ],
)
def test_what_does_not_fit_is_told_at_its_field(
    api: TestClient, asked: dict[str, Any], field: str, sentence: str
) -> None:
    put(api, "mine.csv", b"q,a\nwhat,that\n")
    found = refused(api, "mine.csv", **asked)
    assert found[0] == field
    assert sentence in found[1]


def test_broken_rows_and_empty_answers_are_named_by_their_line(api: TestClient) -> None:
    content = b'{"q": "1", "a": "x"}\n{"q": "2", "a"\n\n{"q": "3", "a": ""}\n{"q": "4", "a": "y"}\n'
    put(api, "broken.jsonl", content)
    found = shown(api, "broken.jsonl", **MINE)
    assert found["left_out"] == 2
    assert found["faults"][0].startswith("line 2: it is not JSON from character ")
    assert found["faults"][1] == "line 4: its answer is empty"
    assert [row["line"] for row in found["rows"]] == [1, 5]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_encodings_and_all_letters_are_read(api: TestClient, encoding: str) -> None:
    put(api, "letters.csv", "q;a\nwo heißt 東京?;Tōkyō 🗼\n".encode(encoding))
    found = shown(api, "letters.csv", **MINE)
    assert found["columns"] == ["q", "a"]
    (row,) = found["rows"]
    assert (row["prompt"], row["answer"]) == ("wo heißt 東京?", "Tōkyō 🗼")


def test_bytes_that_are_no_text_reach_no_answer(api: TestClient) -> None:
    put(api, "bytes.csv", b"q,a\n\xff,x\nfine,y\n")
    found = shown(api, "bytes.csv", **MINE)
    assert found["faults"] == ["line 2: it holds bytes that are not UTF-8"]
    said = api.put("/data/header.csv", content=b"q,\xff\n1,2\n")
    assert said.status_code in (200, 422)
    if said.status_code == 200:
        shown(api, "header.csv")


def test_parquet_and_ten_thousand_rows_are_shown_in_ten(api: TestClient) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"q": [f"{n}?" for n in range(10_000)], "a": ["x"] * 10_000}), file)
    put(api, "many.parquet", file.getvalue())
    found = shown(api, "many.parquet", **MINE)
    assert (found["unit"], len(found["rows"])) == ("row", 10)
    assert found["train"] + found["test"] == 10_000
    assert 0.18 < found["test"] / 10_000 < 0.22


def test_long_texts_are_cut(api: TestClient) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["q", "a"], ["x" * 100_000, "y"]])
    put(api, "long.csv", text.getvalue().encode())
    (row,) = shown(api, "long.csv", **MINE)["rows"]
    assert len(row["prompt"]) < 2_100
    assert "98000 characters" in row["prompt"]


def test_a_file_that_is_not_there_or_no_file_is_told(api: TestClient) -> None:
    for path, said in (
        ("none.csv", "cannot be read"),
        ("/dev/zero", "device"),
        ("/", "cannot be read"),
    ):
        field, sentence = refused(api, path)
        assert field == "path"
        assert said in sentence


def test_a_whole_path_takes_a_token_that_may_do_all(state: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.csv"
    outside.write_text("q,a\nwhat,that\n")
    data_folder().mkdir(parents=True)
    app = create_app(Settings(state_dir=state, require_token=True))
    with TestClient(app) as api:
        for scope, status in ((Scope.READ, 422), (Scope.RUN, 422), (Scope.ADMIN, 200)):
            with writing(app.state.engine) as session:
                secret = tokens.create(session, f"a-{scope}", scope)
            for path in (str(outside), "../../secret.csv"):
                said = api.post(
                    "/data/preview",
                    json={"path": path},
                    headers={"authorization": f"Bearer {secret}"},
                )
                assert said.status_code == status
                assert ("that" in said.text) is False


def test_neither_plan_nor_run_reads_files_elsewhere_for_a_lesser_token(
    state: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "secret.csv"
    outside.write_text("q,a\nwhat,that\n")
    task = {"name": "mine", "path": str(outside), "prompt": "{x}", "answer": "{a}"}
    config = {"tasks": [task], "rounds": 1}
    app = create_app(Settings(state_dir=state, require_token=True))
    with TestClient(app) as api:
        for route, body, scope in (
            ("/plan", config, Scope.READ),
            ("/plan", config, Scope.RUN),
            ("/runs", {"config": config}, Scope.RUN),
        ):
            with writing(app.state.engine) as session:
                secret = tokens.create(session, f"{route[1:]}-{scope}", scope)
            said = api.post(route, json=body, headers={"authorization": f"Bearer {secret}"})
            assert said.status_code == 422
            assert "tasks.0.path" in said.text
            assert "scope admin" in said.text
            assert "column" not in said.text  # those of the file would be named
