"""Models of any family from a folder: measured, planned, computed as transformers does, refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from meshtune.engine.adapters.stack import select
from meshtune.engine.bench.families import FAMILIES, REFUSED, tiny_model
from meshtune.engine.checkpoint import save_state
from meshtune.engine.config import Model, RunConfig, with_values
from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.models import measured
from meshtune.engine.models.door import checked_folder, facts_of
from meshtune.engine.models.loading import load_backbone
from meshtune.engine.models.measuring import answer
from meshtune.engine.models.problems import model_problems
from meshtune.engine.peft_io import peft_folders
from meshtune.engine.planning.plan import plan
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config
from tests.support.models import llama_config, random_model, rewritten, saved

VOCABULARY = 128


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path / "state"))
    logging.set_verbosity_error()  # of tiny configs, about what they leave out


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in this process, which has loaded transformers long ago."""
    monkeypatch.setattr(measured, "_asked", answer)


def config_with(model: Model, **changes: Any) -> RunConfig:
    return with_values(
        tiny_config(**changes), {"model.source": model.source, "model.path": model.path}
    )


def stored(family: str, folder: Path) -> Model:
    return saved(tiny_model(family, VOCABULARY), folder)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_measured_as_it_is_loaded(family: str, tmp_path: Path) -> None:
    model = stored(family, tmp_path / "m")
    stock: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32)
    told, loaded = facts_of(model), load_backbone(model)
    assert told.family.lower() == family
    assert list(told.shapes.items()) == list(loaded.shapes.items())
    assert told.parameters == stock.num_parameters()
    assert {name: stock.get_submodule(path) for name, path in told.paths.items()}
    tokens = torch.randint(VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = stock(input_ids=tokens).logits
    torch.testing.assert_close(
        loaded.logits(tokens[None], None, 1.0)[0], expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("family", ["gpt2", "qwen2", "granite", "smollm3"])
@pytest.mark.parametrize("method", ["lora_gossip", "so_lora"])
def test_plan_and_run_know_it(family: str, method: str, tmp_path: Path) -> None:
    config = config_with(stored(family, tmp_path / "m"), method__kind=method)
    foreseen, world = plan(config), build_world(config)
    records = [record for _, record in simulate(world, initial_state(world))]
    assert len(records) == config.rounds
    sent = sum(device.sent_bits for record in records for device in record.devices)
    assert sent == foreseen.total.payload_bits > 0


@pytest.mark.usefixtures("_here")
@pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT asks for what transformers has renamed
@pytest.mark.parametrize("family", ["gpt2", "qwen2", "opt", "gemma2"])
@pytest.mark.parametrize("method", ["lora_gossip", "full_gossip"])
def test_plain_peft_gives_the_logits_that_a_device_gives(
    family: str, method: str, tmp_path: Path
) -> None:
    config = config_with(stored(family, tmp_path / "m"), method__kind=method, rounds=1)
    world = build_world(config)
    ((state, _),) = simulate(world, initial_state(world))
    save_state(world, state, tmp_path / "state.safetensors")
    (tmp_path / "peft").mkdir()
    for name, content in next(peft_folders(tmp_path / "state.safetensors", config)).items():
        (tmp_path / "peft" / name).write_bytes(content)
    plain = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "peft", dtype=torch.float32)
    tokens = world.exam.tokens[:3]
    with torch.no_grad():
        by_peft = plain.eval()(input_ids=tokens).logits
    own = select(state.adapters, [0])
    by_us = world.backbone.logits(tokens[None], own, world.rule.scaling)[0]
    torch.testing.assert_close(by_peft, by_us, rtol=1e-5, atol=1e-5)
    frozen = world.backbone.logits(tokens[None], None, 1.0)[0]
    assert not torch.allclose(by_us, frozen, atol=1e-4)  # so that the adapter matters


def test_another_process_measures_and_it_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stored("gpt2", tmp_path / "m")
    told = facts_of(model)
    assert told.family == "gpt2"
    measured._answer.cache_clear()
    monkeypatch.setattr(measured, "_asked", lambda _: pytest.fail("asked again"))
    assert facts_of(model) == told
    for path in checked_folder().glob("*.json"):
        path.write_text("{", encoding="utf-8")  # half a file is no answer
    measured._answer.cache_clear()
    monkeypatch.setattr(measured, "_asked", answer)
    assert facts_of(model) == told


def refused(model: Model, *parts: str) -> None:
    """Refused at model.path in one sentence, in the plan as well as on loading."""
    ((field, sentence),) = model_problems(config_with(model))
    assert field == "model.path"
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence
    with pytest.raises((AssetMissing, ConfigMismatch)):
        load_backbone(model)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("family", ["mamba", "mixtral", "gpt_oss", "granitemoe", "rwkv"])
def test_a_family_that_cannot_be_computed_is_refused_by_name(family: str, tmp_path: Path) -> None:
    assert family in REFUSED
    refused(stored(family, tmp_path / "m"), f"'{family}'")


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"model_type": "wonder"}, "wonder"),
        ({}, "model_type"),
        ({"model_type": 7}, ""),
        ({"model_type": "gpt2", "n_embd": "wide"}, ""),
        ({"model_type": "bert"}, ""),
    ],
    ids=str,
)
def test_a_config_that_no_model_has_is_refused(
    config: dict[str, Any], part: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    refused(Model(source="folder", path=str(tmp_path)), part)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
    ],
    ids=str,
)
def test_a_llama_that_is_not_plain_is_computed_as_transformers_does(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    model = random_model(tmp_path / "m", config=llama_config(**changes))
    assert list(load_backbone(model).shapes) == list(facts_of(model).shapes)


@pytest.mark.usefixtures("_here")
def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    model = random_model(tmp_path / "m")
    rewritten(tmp_path / "m", attention_bias=True)
    with pytest.raises(AssetMissing, match="have no model"):
        load_backbone(model)


def test_to_measure_is_no_reason_to_load_torch() -> None:
    code = (
        "import sys; from meshtune.engine.models.door import facts_of; "
        "from meshtune.engine.config import Model; facts_of(Model()); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
