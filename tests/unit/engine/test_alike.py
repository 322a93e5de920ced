"""Alike: prompts that no surface tells apart, a corpus without answers, a model for both."""

import re
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from meshtune.engine.adapters.static_a import static_a
from meshtune.engine.backbone.alike.corpus import WEIGHTS, Document, documents
from meshtune.engine.backbone.alike.pretrain import (
    Recipe,
    build_tokenizer,
    orthogonal,
    pretrain,
    rate_factor,
    save,
)
from meshtune.engine.backbone.embedded import (
    embedded_backbone,
    embedded_folder,
    embedded_parameters,
    embedded_tokenizer,
    load_embedded,
)
from meshtune.engine.backbone.llama import backbone_from_llama
from meshtune.engine.config import (
    TASK_NAMES,
    WORLD_TASKS,
    Model,
    RunConfig,
    TaskName,
    canonical_json,
)
from meshtune.engine.models.door import check_model, described, facts_of, folder_of
from meshtune.engine.planning.plan import plan, problems
from meshtune.engine.reproduce import alike as tables, surface
from meshtune.engine.reproduce.surface import FEATURES, by_centroid, by_training
from meshtune.engine.simulate import simulate
from meshtune.engine.tasks import TASKS, dialled
from meshtune.engine.tasks.alike import COLOURS, FRAMES, NAMES, PLAIN_FRAMES, REQUESTS, THINGS
from meshtune.engine.tasks.base import (
    Sample,
    test_samples as held_out_samples,
    train_samples,
)
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

ALIKE = WORLD_TASKS["alike"]
FACT = re.compile(r"(\w+) has (\d) (\w+) (\w+)")


KIND_OF = {wording: kind for kind, wordings in REQUESTS.items() for wording in wordings}
WORDING = "|".join(KIND_OF)
PATTERNS = [
    re.compile(re.sub(r"\\{(\w+)\\}", rf"(?P<\1>{WORDING})", re.escape(frame)))
    for frame in (*FRAMES, *PLAIN_FRAMES)
]


def kind_of(name: TaskName) -> str:
    return name.removeprefix("alike_")


def meant(request: str) -> tuple[str, str | None]:
    """The kind that a request asks for, and the kind that it declines."""
    (found,) = (match for each in PATTERNS if (match := each.fullmatch(request)))
    declined = found.groupdict().get("declined")
    return KIND_OF[found["asked"]], None if declined is None else KIND_OF[declined]


def drawn(name: TaskName, declined: float = 1.0, count: int = 300) -> tuple[Sample, ...]:
    return held_out_samples(dialled(name, declined), 0, count)


def test_configs_without_a_word_about_alike_are_what_they_were() -> None:
    assert RunConfig().fleet.tasks == TASK_NAMES[:8] == WORLD_TASKS["embedded"]
    assert TASK_NAMES[8:] == ALIKE
    assert "declined" not in canonical_json(RunConfig())
    assert "alike" not in canonical_json(RunConfig())


def test_the_surface_tells_no_task() -> None:
    """Each pair of requests is there both ways round, so a coin is the best that counts can do."""
    learned = [[s.prompt for s in train_samples(TASKS[name], 0, 0, 500)] for name in ALIKE]
    asked = [[s.prompt for s in drawn(name)] for name in ALIKE]
    limits = {"characters": 0.45, "words": 0.52, "pairs of words": 0.58}
    for name, limit in limits.items():
        assert 0.2 < by_centroid(FEATURES[name], learned, asked) <= limit
    assert by_training(FEATURES["words"], learned, asked) <= 0.58


def test_without_declined_requests_words_tell_the_task() -> None:
    tasks = [dialled(name, 0.0) for name in ALIKE]
    learned = [[s.prompt for s in train_samples(task, 0, 0, 200)] for task in tasks]
    asked = [[s.prompt for s in held_out_samples(task, 0, 50)] for task in tasks]
    assert by_centroid(FEATURES["pairs of words"], learned, asked) > 0.9


@pytest.mark.parametrize("name", ALIKE)
def test_a_prompt_asks_its_task_and_declines_another(name: TaskName) -> None:
    for sample in drawn(name):
        asked, declined = meant(sample.prompt.partition(". ")[2])
        assert asked == kind_of(name)
        assert declined not in (None, asked)
    for share, low, high in ((0.0, 0, 0), (0.5, 100, 200)):
        found = [meant(s.prompt.partition(". ")[2])[1] for s in drawn(name, share)]
        assert low <= sum(each is not None for each in found) <= high


@pytest.mark.parametrize("name", ALIKE)
def test_answers_are_what_the_facts_say(name: TaskName) -> None:
    for sample in drawn(name):
        (_, k, colour, thing), (_, m, last_colour, last_thing) = FACT.findall(sample.prompt)
        first, last = int(k), int(m)
        truth = {
            "total": first + last,
            "gap": abs(first - last),
            "bigger": max(first, last),
            "smaller": min(first, last),
            "first_colour": colour,
            "last_colour": last_colour,
            "first_things": thing,
            "last_things": last_thing,
        }
        assert sample.answer == str(truth[kind_of(name)])


@pytest.mark.parametrize("name", ALIKE)
def test_prompts_are_short_and_answers_are_one_token(name: TaskName) -> None:
    tokenizer = embedded_tokenizer("alike")
    lengths = set()
    for sample in drawn(name):
        prompt = tokenizer.encode(sample.prompt, add_special_tokens=False)
        (answer,) = tokenizer.encode(sample.answer, add_special_tokens=False)
        assert tokenizer.unk_token_id not in prompt
        assert tokenizer.decode([answer]) == sample.answer
        assert tokenizer.decode(prompt) == sample.prompt
        lengths.add(len(prompt))
    assert max(lengths) <= 40
    # The start token, the prompt and the answer are read; the end of the answer is only said.
    assert TASKS[name].longest - 2 <= max(lengths) + 2 <= TASKS[name].longest


def test_no_request_of_the_corpus_is_answered() -> None:
    asked = 0
    for document in islice(documents(7), 3_000):
        text = " ".join(document)
        ends = [found.end() for each in PATTERNS if (found := each.search(text))]
        asked += bool(ends)
        behind = set(re.findall(r"\w+", text[min(ends, default=len(text)) :]))
        assert not behind & {*NAMES, *COLOURS, *THINGS, *map(str, range(20))}
    assert 1_000 < asked < 1_300


def test_the_corpus_says_what_is_true() -> None:
    rng = np.random.default_rng(0)
    (write_statements,) = (writer for writer in WEIGHTS if "statements" in writer.__name__)
    for document in (write_statements(rng) for _ in range(200)):
        (_, k, colour, _), (_, m, _, thing) = FACT.findall(document[0])
        said = pairs_of(document)
        assert said.get("Together they own", str(int(k) + int(m))) == str(int(k) + int(m))
        assert said.get("They differ by", str(abs(int(k) - int(m)))) == str(abs(int(k) - int(m)))
        assert said.get("It begins in", colour) == colour
        assert said.get("It closes with", thing) == thing


def pairs_of(document: Document) -> dict[str, str]:
    """What is said of the facts, by how it begins."""
    leads = [document[0].rpartition(". ")[2], *document[2::2]]
    return dict(zip(leads, (end.rstrip(".") for end in document[1::2]), strict=True))


def test_documents_repeat_from_their_seed_and_pieces_begin_with_a_word() -> None:
    first, again, other = (list(islice(documents(seed), 400)) for seed in (3, 3, 4))
    assert first == again != other
    assert all(piece[0].isalnum() for document in first for piece in document)


def test_the_model_is_small_tied_and_read_without_transformers() -> None:
    stock, tokenizer = load_embedded("alike")
    assert 0.7e6 <= stock.num_parameters() == embedded_parameters("alike") <= 2.4e6
    assert stock.config.tie_word_embeddings
    assert stock.dtype == torch.float32
    assert (embedded_folder("alike") / "model.safetensors").stat().st_size <= 5e6
    ours = embedded_tokenizer("alike")
    text = "Leo has 3 pink books, Ben has 7 white coats. Say the first colour, not the gap."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ours.encode(text, add_special_tokens=False) == ids
    tokens = torch.tensor([[ours.bos_token_id, *ids]])
    with torch.no_grad():
        mine = embedded_backbone(world="alike").logits(tokens[None], None, 1.0)[0]
        assert torch.equal(mine, backbone_from_llama(stock).logits(tokens[None], None, 1.0)[0])
        torch.testing.assert_close(mine, stock(input_ids=tokens).logits, atol=1e-4, rtol=0)


def test_the_shipped_tokenizer_is_the_one_that_is_built_here() -> None:
    built = build_tokenizer(Recipe.seed)
    assert built.get_vocab() == embedded_tokenizer("alike").get_vocab()


def test_the_model_goes_through_the_door_without_a_path() -> None:
    model = Model(source="alike")
    assert folder_of(model) == embedded_folder("alike")
    check_model(model)
    assert described(model).startswith("alike: Llama, ")
    assert RunConfig(model=model).schema_version == 2


def alike_config(**changes: object) -> RunConfig:
    return tiny_config(**{"model__source": "alike", "fleet__tasks": list(ALIKE[:2]), **changes})


def test_tasks_and_model_of_different_worlds_are_refused_in_one_sentence() -> None:
    for source, task, other in (
        ("alike", "addition", "embedded"),
        ("embedded", "alike_gap", "alike"),
    ):
        ((field, sentence),) = problems(tiny_config(model__source=source, fleet__tasks=[task]))
        assert field == "fleet.tasks"
        assert f"the {source} model has never read the language of the task {task}" in sentence
        assert f"set model.source to {other}" in sentence
    assert problems(alike_config()) == []


def test_two_devices_run_as_planned() -> None:
    config = alike_config(method__kind="so_lora", channel__kind="ideal")
    foreseen, world = plan(config), build_world(config)
    records = [record for _, record in simulate(world, initial_state(world))]
    assert sum(record.sent_bits for record in records) == foreseen.total.payload_bits
    assert {score.task for score in records[-1].scores} == set(ALIKE[:2])


def test_the_dial_reaches_devices_and_exam() -> None:
    worlds = [build_world(alike_config(fleet__declined=share)) for share in (0.0, 1.0)]
    plain, full = ((world.pool_targets.shape[2], world.exam.tokens.shape[1]) for world in worlds)
    assert plain[0] < full[0]
    assert plain[1] < full[1]
    assert '"declined":0.0' in canonical_json(worlds[0].config)


def test_static_rows_of_one_world_are_orthogonal_and_do_not_move_those_of_the_other() -> None:
    shapes, own = {"q": (4, 64)}, np.arange(8)
    rows = static_a("orthonormal", 0, shapes, 8, ALIKE, own)["q"].flatten(0, 1)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(64), atol=1e-5, rtol=0)
    both = (ALIKE[0], "reading")
    mixed = static_a("orthonormal", 0, shapes, 8, both, np.arange(2))["q"]
    alone = static_a("orthonormal", 0, shapes, 8, ("reading",), np.arange(1))["q"]
    assert torch.equal(mixed[1], alone[0])
    assert torch.equal(mixed[0], rows[:8])


def test_matrices_become_orthogonal_in_float32() -> None:
    wide = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))
    for matrices in (wide, wide.mT):
        sizes = torch.linalg.svdvals(orthogonal(matrices))
        assert 0.5 < sizes.min() < sizes.max() < 1.3


def test_pretraining_from_one_seed_repeats_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshtune.engine.backbone.alike.pretrain.TOKENIZER_DOCUMENTS", 500)
    recipe = Recipe(steps=1, later_steps=1, batch_tokens=512, chunk=128)
    for name in ("one", "two"):
        pretrain(recipe, partial(save, tmp_path / name, recipe))
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert {weight.dtype for weight in one.values()} == {torch.bfloat16}
    facts = facts_of(Model(source="folder", path=str(tmp_path / "one")))
    assert facts.parameters == embedded_parameters("alike")


def test_the_tables_have_a_row_for_each_task_gate_and_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LEARNED", 4)
    monkeypatch.setattr(tables, "ASKED", 2)
    monkeypatch.setattr(tables, "DIALS", (0.0, 1.0))
    monkeypatch.setattr(surface, "TRAINED_STEPS", 2)
    lines = list(tables.card_lines(tables.Setup(steps=1, train_samples=4)))
    assert all(any(line.startswith(f"| `{name}` |") for line in lines) for name in ALIKE)
    assert sum(line.startswith("| prototypes, ") for line in lines) == 2
    assert [line[:6] for line in lines[-2:]] == ["| 0 | ", "| 1 | "]
    shares = [float(share) for line in lines for share in re.findall(r"([\d.]+) %", line)]
    assert all(0.0 <= share <= 100.0 for share in shares)


def test_the_card_keeps_what_it_promises() -> None:
    card = (embedded_folder("alike") / "README.md").read_text()
    assert f"{embedded_parameters('alike'):,} parameters" in card
    for name in ALIKE:
        row = re.search(rf"^\| `{name}` \| ([\d.]+) % \| ([\d.]+) % \|", card, re.MULTILINE)
        assert row
        assert float(row[1]) <= 2.0
        assert float(row[2]) >= 90.0


def test_the_rate_warms_up_stays_and_ends_at_zero() -> None:
    recipe = Recipe(steps=1000, later_steps=100, warmup_steps=10, decay_fraction=0.2)
    factors = [rate_factor(step, recipe) for step in range(1101)]
    assert factors[0] == 0.1
    assert set(factors[9:801]) == {1.0}
    assert factors[999] == pytest.approx(0.005)
    assert 0.0 < max(factors[1000:]) <= recipe.later_rate
    assert factors[1100] == 0.0
