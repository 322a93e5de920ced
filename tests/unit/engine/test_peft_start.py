"""Runs that start from a PEFT folder begin where another ended, or say why they cannot."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, select
from meshtune.engine.answering.evaluate import evaluate
from meshtune.engine.backbone.embedded import load_embedded
from meshtune.engine.checkpoint import load_state, save_state
from meshtune.engine.config import (
    RunConfig,
    canonical_json,
    config_hash,
    plain_errors,
    with_values,
)
from meshtune.engine.methods.registry import METHODS
from meshtune.engine.peft_io import CONFIG_FILE, WEIGHTS_FILE, peft_folders
from meshtune.engine.planning.plan import problems
from meshtune.engine.simulate import simulate
from meshtune.engine.world import State, World, build_world, initial_state, provenance
from tests.support.builders import tiny_config

FREE = ("lora_gossip", "decaf_gossip", "choco_gossip", "centralised", "local")
SMALL: dict[str, Any] = {"adapter__rank": 2, "adapter__alpha": 4}


def finished(config: RunConfig) -> tuple[World, State]:
    world = build_world(config)
    *_, (state, _) = simulate(world, initial_state(world))
    return world, state


def accuracies(world: World, state: State) -> tuple[Tensor, Tensor]:
    bank = world.method.bank(state.adapters, state.memory)
    with torch.no_grad():
        found = evaluate(world.backbone, bank, world.exam, world.rule.scaling)
    return found.accuracy, found.loss


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter of device 1 of a run, beside the checkpoint."""
    home = tmp_path_factory.mktemp("exported")
    config = tiny_config(method__kind="local", **SMALL)
    save_state(*finished(config), home / "state.safetensors")
    (home / "adapter").mkdir()
    (files,) = peft_folders(home / "state.safetensors", config, [1])
    for name, content in files.items():
        (home / "adapter" / name).write_bytes(content)
    return home / "adapter"


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return shutil.copytree(exported, tmp_path / "adapter")


def starting(folder: Path | str, **changes: Any) -> RunConfig:
    return tiny_config(**(SMALL | changes), adapter__start_from=str(folder))


@pytest.mark.parametrize("method", ["local", "lora_gossip"])
def test_a_run_begins_at_the_accuracy_where_another_ended(method: str, exported: Path) -> None:
    before = tiny_config(method__kind="local", **SMALL)
    world = build_world(before)
    ended = accuracies(world, load_state(world, exported.parent / "state.safetensors"))
    config = starting(exported, method__kind=method)
    again = build_world(config)
    begun = accuracies(again, initial_state(again))
    for end, begin in zip(ended, begun, strict=True):
        for device in range(2):  # all are what device 1 was
            torch.testing.assert_close(begin[device], end[1], rtol=0, atol=0)
    fresh = accuracies(world, initial_state(world))
    assert not torch.allclose(fresh[1][1], begun[1][1], atol=1e-4)  # so that the start matters


@pytest.mark.parametrize("method", FREE)
def test_free_methods_start_from_it_and_train(method: str, exported: Path) -> None:
    world = build_world(starting(exported, method__kind=method, rounds=1))
    start = initial_state(world)
    given = load_file(exported / WEIGHTS_FILE)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    for device in range(2):
        assert torch.equal(start.adapters.a["layers.0.q_proj"][device], given[name.format("A")])
        assert torch.equal(start.adapters.b["layers.0.q_proj"][device], given[name.format("B")])
    ((after, record),) = simulate(world, start)
    assert record.accuracy_own is not None
    assert not torch.equal(after.adapters.b["layers.0.q_proj"], start.adapters.b["layers.0.q_proj"])


def test_the_methods_that_are_free_say_so() -> None:
    assert {row.name for row in METHODS.rows() if row.free_start} == {*FREE}


@pytest.mark.parametrize("method", [row.name for row in METHODS.rows() if not row.free_start])
def test_a_method_that_makes_its_own_factors_refuses(method: str) -> None:
    with pytest.raises(ValidationError) as refused:
        starting("x", method__kind=method)
    ((field, sentence),) = plain_errors(refused.value.errors(), RunConfig)
    assert field == "adapter.start_from"
    assert sentence.startswith(f"{method} makes its own factors")
    assert "lora_gossip" in sentence


def test_a_config_that_starts_afresh_is_what_it_was() -> None:
    config = with_values(tiny_config(), {"adapter.start_from": "mine"})
    assert (config.schema_version, tiny_config().schema_version) == (2, 1)
    assert "start_from" not in canonical_json(tiny_config())
    assert RunConfig.model_validate_json(canonical_json(config)) == config
    assert config_hash(with_values(config, {"adapter.start_from": ""})) == config_hash(
        tiny_config()
    )


def test_a_short_name_lies_below_the_state_folder(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path))
    shutil.copytree(exported, tmp_path / "adapters" / "mine")
    assert problems(starting("mine")) == []


def test_provenance_has_the_hash_of_the_adapter(folder: Path) -> None:
    world = build_world(starting(folder))
    assert len(provenance(world).start_sha256 or "") == 64
    shutil.rmtree(folder)
    assert provenance(world).start_sha256 is None
    assert "start_sha256" not in provenance(build_world(tiny_config())).model_dump()


def test_a_run_goes_on_without_the_adapter_that_it_started_from(
    folder: Path, tmp_path: Path
) -> None:
    config = starting(folder)
    world = build_world(config)
    (first, _), (second, _) = simulate(world, initial_state(world))
    save_state(world, first, tmp_path / "half.safetensors")
    shutil.rmtree(folder)
    again = build_world(config)
    ((resumed, _),) = simulate(again, load_state(again, tmp_path / "half.safetensors"))
    assert torch.equal(resumed.adapters.b["layers.0.q_proj"], second.adapters.b["layers.0.q_proj"])


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT asks for what transformers has renamed
def test_what_peft_itself_saved_is_taken(tmp_path: Path) -> None:
    torch.manual_seed(1)
    lora = LoraConfig(
        r=2,
        lora_alpha=4,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        init_lora_weights=False,
    )
    model = get_peft_model(load_embedded()[0], lora).eval()
    model.save_pretrained(tmp_path / "peft")
    world = build_world(starting(tmp_path / "peft"))
    assert problems(world.config) == []
    tokens = world.exam.tokens[:2]
    own: Adapters = select(initial_state(world).adapters, [0])
    with torch.no_grad():
        stock = model(input_ids=tokens).logits
    ours = world.backbone.logits(tokens[None], own, world.rule.scaling)[0]
    torch.testing.assert_close(ours, stock, rtol=1e-4, atol=1e-4)


def told(**fields: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / CONFIG_FILE
        tree = json.loads(path.read_text("utf-8")) | fields
        path.write_text(json.dumps(tree), "utf-8")

    return spoil


def weights(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        values = load_file(folder / WEIGHTS_FILE)
        change(values)
        save_file(
            {name: value.contiguous() for name, value in values.items()}, folder / WEIGHTS_FILE
        )

    return spoil


Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, f"has no {CONFIG_FILE}"),
        (lambda f: (f / WEIGHTS_FILE).unlink(), f"has no {WEIGHTS_FILE}"),
        (lambda f: (f / CONFIG_FILE).write_text("{"), "is no readable JSON"),
        (lambda f: (f / WEIGHTS_FILE).write_bytes(b"x" * 40), "is damaged or cut off"),
        (told(peft_type="IA3"), "is no LoRA adapter"),
        (told(use_dora=True), "its use_dora is set"),
        (told(use_rslora=True), "its use_rslora is set"),
        (told(bias="all"), "its bias is set"),
        (told(alpha_pattern={"q_proj": 1}), "its alpha_pattern is set"),
        (told(r=3), "has r 3 and adapter.rank is 2; make them equal"),
        (told(lora_alpha=1), "has lora_alpha 1 and adapter.alpha is 4; make them equal"),
        (weights(lambda v: v.pop(Q)), f"has no {Q}"),
        (weights(lambda v: v.update({Q: v[Q][:, 1:]})), "this model takes 2 x 160"),
        (weights(lambda v: v.update({Q: v[Q].int()})), f"has no {Q}"),
        (weights(lambda v: v.update(lm_head=v[Q] + 1)), "has 'lm_head', which no device trains"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence_at_the_field(
    spoil: Callable[[Path], object], words: str, folder: Path
) -> None:
    spoil(folder)
    ((field, sentence),) = problems(starting(folder))
    assert field == "adapter.start_from"
    assert words in sentence
    assert "\n" not in sentence
