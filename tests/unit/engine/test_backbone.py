"""The embedded model: loads plainly, is small, knows the language and not the tasks."""

import hashlib
import re
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from meshtune.engine.backbone import embedded
from meshtune.engine.backbone.corpus import PHASES, documents
from meshtune.engine.backbone.embedded import (
    embedded_backbone,
    embedded_folder,
    embedded_parameters,
    embedded_tokenizer,
    load_embedded,
)
from meshtune.engine.backbone.encode import Encoded, choice_tokens, encode
from meshtune.engine.backbone.llama import backbone_from_llama
from meshtune.engine.backbone.pretrain import (
    CHARACTERS,
    PAD,
    Point,
    Recipe,
    batches,
    build_model,
    build_tokenizer,
    losses,
    model_card,
    pretrain,
    rate_factor,
)
from meshtune.engine.backbone.probe import Setup, accuracy, prompt_loss, table_lines
from meshtune.engine.backbone.writers import (
    Writer,
    write_addition,
    write_expression,
    write_list,
    write_verdicts,
)
from meshtune.engine.config import WORLD_TASKS, TaskName
from meshtune.engine.errors import AssetMissing
from meshtune.engine.tasks import TASKS
from meshtune.engine.tasks.base import test_samples as held_out_samples
from meshtune.engine.world import build_world, provenance
from tests.support.builders import tiny_config

NAMES = WORLD_TASKS["embedded"]


@pytest.fixture(scope="module")
def shipped() -> PreTrainedModel:
    return load_embedded()[0]


def exam_of(name: TaskName, count: int) -> tuple[Encoded, torch.Tensor]:
    samples = held_out_samples(TASKS[name], 0, count)
    tokenizer = embedded_tokenizer()
    return encode(samples, tokenizer), choice_tokens(samples, tokenizer)


def test_the_folder_loads_with_plain_transformers() -> None:
    model = AutoModelForCausalLM.from_pretrained(embedded_folder())
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder())
    text = "".join(CHARACTERS)
    ids = tokenizer(text).input_ids
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text
    with torch.no_grad():
        logits = model(torch.tensor([[tokenizer.bos_token_id, *ids[:20]]])).logits
    assert logits.shape == (1, 21, 128)
    assert torch.isfinite(logits).all()


def test_the_model_is_small_tied_and_frozen(shipped: PreTrainedModel) -> None:
    assert 1.0e6 <= shipped.num_parameters() <= 1.6e6
    assert embedded_parameters() == shipped.num_parameters()
    assert shipped.config.tie_word_embeddings
    assert shipped.dtype == torch.float32
    assert not shipped.training
    assert not any(p.requires_grad for p in shipped.parameters())
    size_bytes = sum(path.stat().st_size for path in embedded_folder().iterdir())
    assert size_bytes <= 16 * 1024**2


def test_the_shipped_tokenizer_is_the_one_that_is_built_here() -> None:
    _, tokenizer = load_embedded()
    built = build_tokenizer()
    assert tokenizer.get_vocab() == built.get_vocab()
    assert tokenizer.special_tokens_map == built.special_tokens_map


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_read_without_transformers_is_equal_to_the_bit(
    shipped: PreTrainedModel, dtype: torch.dtype
) -> None:
    ours, theirs = embedded_backbone(dtype), backbone_from_llama(shipped, dtype)
    assert asdict(ours).keys() == asdict(theirs).keys()
    assert differences(asdict(ours), asdict(theirs)) == []


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two nested values differ."""
    if isinstance(ours, dict):
        return [d for key in ours for d in differences(ours[key], theirs[key], f"{path}.{key}")]
    if isinstance(ours, tuple):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [d for place, (a, b) in pairs for d in differences(a, b, f"{path}.{place}")]
    if isinstance(ours, torch.Tensor):
        same = ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    else:
        same = ours == theirs
    return [] if same else [path]


@pytest.mark.parametrize("name", NAMES)
def test_the_tokenizer_read_without_transformers_says_the_same(name: TaskName) -> None:
    ours, (_, theirs) = embedded_tokenizer(), load_embedded()
    samples = held_out_samples(TASKS[name], 3, 60)
    texts = [part for sample in samples for part in (sample.prompt, sample.answer)] + ["x \u00e9"]
    wanted = theirs(texts, add_special_tokens=False)["input_ids"]
    assert ours(texts, add_special_tokens=False)["input_ids"] == wanted
    assert [ours.encode(text, add_special_tokens=False) for text in texts] == wanted
    assert [ours.decode(ids) for ids in wanted] == [theirs.decode(ids) for ids in wanted]
    special = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "model_max_length")
    assert all(getattr(ours, each) == getattr(theirs, each) for each in special)
    assert ours.get_vocab() == theirs.get_vocab()


def test_a_package_without_weights_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "embedded_folder", lambda _: tmp_path)
    way = r"no weights; reinstall .* meshtune\.engine\.backbone\.pretrain"
    with pytest.raises(AssetMissing, match=way):
        load_embedded()
    with pytest.raises(AssetMissing, match="no weights"):
        embedded_backbone()


def test_the_model_reads_the_language_of_the_corpus(shipped: PreTrainedModel) -> None:
    batch = next(batches(seed=99, batch_tokens=4096, chunk=512))
    with torch.no_grad():
        lead, result = losses(shipped, batch)
    assert lead < 2.0  # about 4.6 for an untrained model
    assert result < 0.25


@pytest.mark.parametrize("name", NAMES)
def test_no_task_is_solved_before_training(shipped: PreTrainedModel, name: TaskName) -> None:
    batch, choices = exam_of(name, 200)
    assert accuracy(shipped, batch, choices) <= TASKS[name].chance + 0.12
    assert prompt_loss(shipped, batch) < 4.5  # 4.6 is blind guessing among characters


@pytest.mark.parametrize("phase", range(len(PHASES)))
def test_documents_repeat_from_their_seed_and_never_contain_a_prompt(phase: int) -> None:
    texts = ["".join(pieces) for pieces in islice(documents(4, phase), 2_000)]
    assert texts == ["".join(pieces) for pieces in islice(documents(4, phase), 2_000)]
    assert texts != ["".join(pieces) for pieces in islice(documents(5, phase), 2_000)]
    allowed = set(CHARACTERS)
    assert all(set(text) <= allowed for text in texts)
    everything = "\n".join(texts)
    for name in NAMES:
        samples = held_out_samples(TASKS[name], 0, 300)
        assert not [s.prompt for s in samples if s.prompt in everything]
    before_marks = {text[: text.rindex(">")] for text in texts if ">" in text}
    assert before_marks
    assert not {text for text in before_marks if re.search(r"[-+*:;?.#\"]", text)}


def results_of(kind: Writer, pattern: str) -> list[tuple[re.Match[str], str]]:
    """What the documents of one kind say after their lead, which must look like `pattern`."""
    rng = Random(0)
    found = []
    for lead, result in (kind(rng) for _ in range(500)):
        match = re.fullmatch(pattern, lead)
        if match:
            found.append((match, result))
    assert len(found) > 50
    return found


def test_the_corpus_adds_and_multiplies_rightly() -> None:
    for match, result in results_of(write_addition, r"(?:sum|add|total) (\d+)\D+(\d+)\D+"):
        assert result == str(int(match[1]) + int(match[2]))
    product = r"(?:compute|reckon) (\d) ?(?:times|x|by) ?(\d) (plus|minus|less) (\d)\D+"
    for match, result in results_of(write_expression, product):
        sign = 1 if match[3] == "plus" else -1
        assert result == str(int(match[1]) * int(match[2]) + sign * int(match[4]))


def test_the_corpus_orders_lists_rightly() -> None:
    for match, result in results_of(write_list, r"in order \[([\d,]+)\]\D+|.*"):
        if match[1]:
            assert result == f"[{','.join(sorted(match[1].split(',')))}]"


def test_the_corpus_judges_claims_rightly() -> None:
    rng = Random(0)
    for _ in range(300):
        pieces = write_verdicts(rng)
        told, _, first_claim = pieces[0].replace("? ", " ").rpartition(".")
        animal, *_, colour = re.findall(r"\w+", first_claim)
        stated = re.search(rf"\b{animal}( is | was | ){colour}\b", told) is not None
        assert (pieces[1] in ("true", "right", "T", "1", "ok")) == stated


def test_batches_hold_whole_documents_between_their_marks() -> None:
    source = batches(seed=1, batch_tokens=2048, chunk=256)
    for batch in islice(source, 4):
        assert batch.tokens.numel() <= 2048
        assert (batch.tokens[:, 0] == 1).all()
        assert ((batch.tokens == 2).sum(1) == 1).all()
        assert not (batch.is_result & (batch.tokens[:, 1:] == PAD)).any()
        assert batch.is_result.any(1).all()


def test_one_step_against_the_gradient_lowers_the_loss() -> None:
    model, batch = build_model(0), next(batches(seed=1, batch_tokens=1024, chunk=256))
    before = sum(losses(model, batch))
    before.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.05 * parameter.grad
    assert sum(losses(model, batch)) < before


def test_the_rate_warms_up_stays_and_ends_at_zero() -> None:
    recipe = Recipe(warmup_steps=10, decay_fraction=0.2)
    factors = [rate_factor(step, 1000, recipe) for step in range(1001)]
    assert factors[0] == 0.1
    assert set(factors[9:801]) == {1.0}
    assert factors[900] == pytest.approx(0.5)
    assert factors[1000] == 0.0


def test_pretraining_from_one_seed_repeats_exactly() -> None:
    curves: list[list[Point]] = []
    recipe = Recipe(first_steps=2, steps=3, batch_tokens=512, chunk=128)
    for _ in range(2):
        pretrain(recipe, compiled=False, saved=lambda _, curve: curves.append(curve))
    first, second = ([(p.lead_loss, p.result_loss) for p in curve] for curve in curves)
    assert first == second
    card = model_card(recipe, curves[0], 1_230_240)
    assert "1,230,240 parameters" in card
    assert f"| 3 | {first[0][0]:.3f} | {first[0][1]:.4f} |" in card
    assert "--steps 3 --first-steps 2" in card


def test_the_card_holds_its_command_curve_and_a_row_per_task(shipped: PreTrainedModel) -> None:
    card = (embedded_folder() / "README.md").read_text()
    assert f"{shipped.num_parameters():,} parameters" in card
    assert "python -m meshtune.engine.backbone.pretrain --out FOLDER --steps" in card
    assert len(re.findall(r"^\| \d+ \| \d\.\d+ \| \d\.\d+ \|$", card, re.MULTILINE)) >= 3
    for name in NAMES:
        row = re.search(rf"^\| `{name}` \|(.*)\|$", card, re.MULTILINE)
        assert row
        *_, guessing, before, _, _, last = re.findall(r"([\d.]+) %", row[1])
        assert float(before) <= float(guessing) + 10
        assert float(last) >= 90


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # asked by peft
def test_the_probe_writes_one_table_row_per_task() -> None:
    setup = Setup(train_samples=20, test_samples=10, exams=(1, 2), batch=2)
    head, rule, row = table_lines(["addition"], setup)
    assert head.count("|") == rule.count("|") == row.count("|") == 7
    assert row.startswith("| `addition` | ")


def test_the_digest_of_the_weights_is_that_of_the_file_and_stands_in_the_provenance() -> None:
    file = embedded_folder() / "model.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert provenance(build_world(tiny_config())).weights_sha256 == digest
