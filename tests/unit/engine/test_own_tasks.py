"""Tasks of files: who trains on which row, how replies of several tokens are judged, refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.answering.asking import marks_of
from meshtune.engine.answering.setting import exam_of
from meshtune.engine.backbone.encode import encode
from meshtune.engine.config import Model, RunConfig, config_hash, plain_errors, with_values
from meshtune.engine.data.judging import JUDGES
from meshtune.engine.models.door import tokenizer_of
from meshtune.engine.models.loading import load_backbone
from meshtune.engine.models.questions import lengths_of
from meshtune.engine.planning.plan import plan, problems
from meshtune.engine.samples import held_out, trained_on
from meshtune.engine.simulate import simulate
from meshtune.engine.tasks.base import Sample
from meshtune.engine.world import build_world, initial_state, provenance
from tests.support.builders import tiny_config
from tests.support.models import byte_model

ASKED = {"prompt": "{q}", "answer": "{a}"}
WORDS = ("yes", "no", "none of them")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of this test alone, with a folder for files of rows."""
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state" / "data").mkdir(parents=True)
    return tmp_path / "state"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return byte_model(tmp_path_factory.mktemp("models") / "bytes")


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return str(path)


def numbered(path: Path, count: int) -> str:
    return written(path, [{"q": f"Frage {i} größer?", "a": f"so {i}"} for i in range(count)])


def config_of(*tasks: dict[str, Any], model: Model | None = None, **changes: Any) -> RunConfig:
    """A tiny run whose devices hold the tasks in turn, two each."""
    tree = tiny_config(**changes).model_dump(mode="json")
    tree["fleet"] |= {"devices": 2 * len(tasks)}
    del tree["fleet"]["tasks"]
    named = {} if model is None else {"model": {"source": "folder", "path": model.path}}
    return RunConfig.model_validate({**tree, **named, "tasks": list(tasks)})


def task(name: str, path: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "path": path, **ASKED, **changes}


def test_devices_of_a_file_share_its_rows_and_none_trains_on_a_test(tmp_path: Path) -> None:
    path = numbered(tmp_path / "rows.jsonl", 100)
    config = config_of(task("mine", path), fleet__train_samples=200)
    one, other = ({s.prompt for s in trained_on(config, device)} for device in (0, 1))
    tested = {s.prompt for s in held_out(config, "mine", 100)}
    assert len(one | other | tested) == len(one) + len(other) + len(tested) == 100
    assert abs(len(one) - len(other)) <= 1
    assert trained_on(config, 0) == trained_on(config, 0)
    other_seed = with_values(config, {"seed": 7})
    assert trained_on(other_seed, 0) != trained_on(config, 0)
    assert {s.prompt for s in held_out(other_seed, "mine", 100)} == tested


def test_a_config_without_own_tasks_keeps_its_text_and_one_with_them_comes_back() -> None:
    assert '"tasks":[{' not in RunConfig().model_dump_json()
    config = config_of(task("mine", "rows.jsonl"))
    assert config.fleet.tasks == ("mine",)
    assert config.schema_version == 2
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert config_hash(config) != config_hash(config_of(task("mine", "other.jsonl")))


@pytest.mark.parametrize(
    ("tree", "field", "words"),
    [
        ({"tasks": [1.5]}, "tasks.0", "must be a table"),
        ({"tasks": [task("reading", "a")]}, "tasks.0.name", "there is a task 'reading' already"),
        ({"tasks": [task("a", "a"), task("a", "b")]}, "tasks.1.name", "choose another name"),
        ({"tasks": [task("My Task", "a")]}, "tasks.0.name", "takes small letters"),
        ({"tasks": [{**task("a", "b"), "prompt": "x"}]}, "tasks.0.prompt", "names no column"),
        ({"tasks": [{**task("a", "b"), "promt": "x"}]}, "tasks.0.promt", "did you mean tasks.p"),
        (
            {"tasks": [task("mine", "a")], "fleet": {"tasks": ["mien"]}},
            "fleet.tasks.0",
            "did you mean mine?",
        ),
    ],
)
def test_what_is_wrong_is_said_at_its_field(tree: Any, field: str, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        RunConfig.model_validate(tree)
    ((said_field, said),) = plain_errors(refused.value.errors(), RunConfig)
    assert said_field == field
    assert words in said


def test_files_that_cannot_be_used_are_refused_at_their_task(tmp_path: Path, model: Model) -> None:
    path = numbered(tmp_path / "rows.jsonl", 5)

    def refused(given: dict[str, Any]) -> str:
        ((field, sentence),) = problems(config_of(given, model=model))
        assert field == "tasks.0.path"
        return sentence

    assert "`meshtune data add FILE`" in refused(task("mine", "nowhere.jsonl"))
    assert "config asks for" in refused(task("mine", path, sha256="0" * 64))
    assert "no row to test with" in refused(task("mine", path, test_fraction=0.0))
    assert "for 2 devices" in refused(task("mine", path, test_fraction=0.99))
    assert "no column 'x'" in refused(task("mine", path, prompt="{x}"))
    ((field, sentence),) = problems(config_of(task("mine", path)))
    assert field == "fleet.tasks"
    assert "unknown to this model's tokenizer" in sentence


def test_a_name_without_folders_lies_below_the_state_folder(state: Path, model: Model) -> None:
    numbered(state / "data" / "rows.jsonl", 50)
    config = config_of(task("mine", "rows.jsonl"), model=model)
    assert problems(config) == []
    (sha256,) = provenance(build_world(config)).data_sha256.values()
    assert problems(config_of(task("mine", "rows.jsonl", sha256=sha256), model=model)) == []


def test_a_long_prompt_loses_its_begin_and_keeps_its_answer(model: Model) -> None:
    tokenizer = tokenizer_of(model)
    sample = Sample("begin " + "x" * 90 + " end?", " yes", tokens=20)
    (row,) = encode([sample], tokenizer).tokens.tolist()
    assert tokenizer.decode(row) == "<s>xxxxxxxxx end? yes"
    (row,) = encode([replace(sample, answer="y" * 90)], tokenizer).tokens.tolist()
    assert tokenizer.decode(row) == "<s>" + "xxxx end?" + "y" * 9
    assert encode([replace(sample, tokens=None)], tokenizer).tokens.shape[1] == 106


def frozen(folder: str, samples: list[Sample], model: Model) -> tuple[list[float], Any]:
    """Marks of the frozen model, and the same model of transformers."""
    backbone, tokenizer = load_backbone(model), tokenizer_of(model)
    exam = exam_of([samples], tokenizer, backbone)
    none = Adapters(
        {name: torch.zeros(1, 2, d_in) for name, (_, d_in) in backbone.shapes.items()},
        {name: torch.zeros(1, d_out, 2) for name, (d_out, _) in backbone.shapes.items()},
    )
    asked = torch.zeros(len(exam.task), 1 + len(backbone.shapes), dtype=torch.int64)
    asked[:, 0] = torch.arange(len(exam.task))
    with torch.no_grad():
        marks = marks_of(backbone, none, asked, exam, 1.0, lambda: None)
    stock = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return exam.settled(*marks).tolist(), stock


def test_a_choice_of_several_tokens_is_the_likeliest_per_token(model: Model) -> None:
    samples = [
        Sample(f"which {i}?", f" {WORDS[i % 3]}", tuple(f" {w}" for w in WORDS)) for i in range(9)
    ]
    marks, stock = frozen(model.path, samples, model)
    tokenizer = tokenizer_of(model)
    for sample, mark in zip(samples, marks, strict=True):
        likely = {}
        for choice in sample.choices:
            prompt, said = (
                tokenizer.encode(text, add_special_tokens=False) for text in (sample.prompt, choice)
            )
            ids = torch.tensor([[tokenizer.bos_token_id, *prompt, *said]])
            with torch.no_grad():
                logits = stock(input_ids=ids).logits[0, -len(said) - 1 : -1].log_softmax(-1)
            likely[choice] = float(logits[torch.arange(len(said)), said].mean())
        assert mark == float(max(likely, key=lambda choice: likely[choice]) == sample.answer)
    assert 0 < sum(marks) < len(marks)


def test_replies_that_are_generated_are_what_transformers_generates(model: Model) -> None:
    tokenizer = tokenizer_of(model)
    _, stock = frozen(model.path, [Sample("a", "b")], model)
    samples, expected = [], []
    for number in range(6):
        prompt, answer = f"{'long ' * number}question {number}?", "a" * 9
        ids = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
        with torch.no_grad():
            said = stock.generate(
                torch.tensor([ids]), max_new_tokens=10, do_sample=False, pad_token_id=2
            )
        reply = tokenizer.decode(said[0, len(ids) :].tolist()).replace("</s>", "")
        wanted = reply.strip()[2:6] if number % 2 else answer
        samples.append(Sample(prompt, wanted or answer, score="contains"))
        expected.append(float(JUDGES["contains"](reply, wanted or answer)))
    longest = Sample("other", "b" * 9, score="contains")
    marks, _ = frozen(model.path, [*samples, longest], model)
    assert marks[:-1] == expected
    assert 0 < sum(expected) < len(expected)


def test_with_loss_each_token_of_the_answer_counts(model: Model) -> None:
    tokenizer = tokenizer_of(model)
    sample = Sample("how?", " in any way", score="loss")
    (mark,), stock = frozen(model.path, [sample], model)
    prompt, answer = (
        tokenizer.encode(text, add_special_tokens=False) for text in (sample.prompt, sample.answer)
    )
    ids = torch.tensor([[tokenizer.bos_token_id, *prompt, *answer]])
    due = [*answer, tokenizer.eos_token_id]
    with torch.no_grad():
        best = stock(input_ids=ids).logits[0, len(prompt) :].argmax(-1).tolist()
    assert mark == pytest.approx(sum(a == b for a, b in zip(best, due, strict=True)) / len(due))


GATES: dict[str, dict[str, Any]] = {
    "one adapter": {},
    "gate by prompt": {"method__kind": "so_lora", "method__library_every": 1},
    "gate by token": {
        "method__kind": "so_lora",
        "method__library_every": 1,
        "method__gate_level": "token",
        "method__gate_blend": "soft",
    },
    "gate by prompt loss": {
        "method__kind": "so_lora",
        "method__library_every": 1,
        "method__gate": "prompt_loss",
    },
}


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_tasks_of_every_score_run_and_send_what_the_plan_says(
    gate: dict[str, Any], tmp_path: Path, model: Model
) -> None:
    rows = [
        {"q": f"Ist {i} gerade?", "n": i, "b": i % 2 == 0, "o": ["eins", "zwei"]} for i in range(20)
    ]
    path = written(tmp_path / "rows.jsonl", rows)
    config = config_of(
        task("truth", path, answer="{b}", choices=["no", "yes"]),
        task("options", path, answer="zwei", choices=["{o}"]),
        task("numbers", path, answer="sicher\n#### {n}", score="numeric"),
        task("likely", path, answer="{q}", score="loss"),
        model=model,
        **gate,
    )
    assert problems(config) == []
    planned = plan(config)
    world = build_world(config)
    records = [record for _, record in simulate(world, initial_state(world))]
    assert sum(r.sent_bits for r in records) == pytest.approx(planned.total.payload_bits)
    assert {score.task for score in records[-1].scores} == {*config.fleet.tasks}
    assert all(0.0 <= score.accuracy <= 1.0 for record in records for score in record.scores)
    assert lengths_of(config, ("numbers",)).passes > 10
    assert lengths_of(config, ("truth",)).passes == 2
