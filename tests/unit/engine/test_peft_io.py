"""Adapters of a run as PEFT folders: plain peft computes what the device computed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import save_file
from torch.testing import assert_close

from meshtune.engine.adapters.stack import Adapters, select
from meshtune.engine.backbone.embedded import load_embedded
from meshtune.engine.backbone.forward import forward
from meshtune.engine.checkpoint import save_state
from meshtune.engine.config import RunConfig, config_hash
from meshtune.engine.errors import CheckpointError
from meshtune.engine.peft_io import (
    CONFIG_FILE,
    Header,
    checkpoint_header,
    merged_folder,
    peft_folders,
)
from meshtune.engine.world import State, World, build_world, initial_state
from tests.support.builders import tiny_config

METHODS = ["lora_gossip", "so_lora", "full_gossip", "centralised"]


def started(config: RunConfig) -> tuple[World, State]:
    """A world, and a state whose devices differ and change the model clearly."""
    world = build_world(config)
    state = initial_state(world)
    draw = torch.Generator().manual_seed(1)
    b = {
        name: value + 0.02 * torch.randn(value.shape, generator=draw)
        for name, value in state.adapters.b.items()
    }
    return world, replace(state, round_index=3, adapters=Adapters(state.adapters.a, b))


def unpacked(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


# PEFT asks transformers for an attribute that it has renamed.
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("method", METHODS)
def test_peft_gives_the_logits_that_the_device_gives(method: str, tmp_path: Path) -> None:
    config = tiny_config(method__kind=method, adapter__rank=4, adapter__alpha=6)
    world, state = started(config)
    save_state(world, state, tmp_path / "state.safetensors")
    tokens = world.exam.tokens[:3]
    for device, files in enumerate(peft_folders(tmp_path / "state.safetensors", config)):
        folder = unpacked(files, tmp_path / str(device))
        plain = PeftModel.from_pretrained(load_embedded()[0], folder).eval()
        with torch.no_grad():
            by_peft = plain(input_ids=tokens).logits
        own = select(state.adapters, [device])
        by_us = forward(world.backbone, tokens[None], own, world.rule.scaling)[0]
        frozen = forward(world.backbone, tokens[None], None, 1.0)[0]
        assert_close(by_peft, by_us, atol=2e-4, rtol=1e-4)
        assert not torch.allclose(by_us, frozen, atol=1e-2)  # so that the adapter matters
    assert device == config.fleet.devices - 1


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("method", ["lora_gossip", "so_lora", "full_gossip"])
def test_merged_is_the_mean_of_the_updates(method: str, tmp_path: Path) -> None:
    config = tiny_config(method__kind=method, fleet__devices=3, adapter__rank=4, adapter__alpha=6)
    world, state = started(config)
    save_state(world, state, tmp_path / "state.safetensors")
    folder = unpacked(merged_folder(tmp_path / "state.safetensors", config), tmp_path / "merged")
    plain = PeftModel.from_pretrained(load_embedded()[0], folder).eval()
    tokens, each = world.exam.tokens[:3], state.adapters
    with torch.no_grad():
        by_peft = plain(input_ids=tokens).logits
    if each.a:  # as the arm "merged" of the playground computes it
        third = torch.full((len(tokens), 3), 1 / 3)
        by_us = world.backbone.blended(tokens, each, third, world.rule.scaling)
    else:
        mean = Adapters({}, {name: b.mean(dim=0, keepdim=True) for name, b in each.b.items()})
        by_us = world.backbone.logits(tokens[None], mean, 1.0)[0]
    assert_close(by_peft, by_us, atol=2e-4, rtol=1e-4)


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    config = tiny_config()
    world, state = started(config)
    save_state(world, state, tmp_path / "state.safetensors")
    first, again = (list(peft_folders(tmp_path / "state.safetensors", config)) for _ in range(2))
    assert first == again
    assert first[0] != first[1]
    assert json.loads(first[0][CONFIG_FILE])["r"] == config.adapter.rank


def test_the_header_says_rounds_and_config(tmp_path: Path) -> None:
    config = tiny_config()
    save_state(*started(config), tmp_path / "state.safetensors")
    assert checkpoint_header(tmp_path / "state.safetensors") == Header(3, config_hash(config))


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 8 + b"{}", b"{}" * 50])
def test_what_is_no_checkpoint_is_refused_in_a_sentence(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "broken.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors cannot be read"):
        checkpoint_header(file)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors cannot be read"):
        next(peft_folders(file, tiny_config()))


@pytest.mark.parametrize(
    "told",
    [
        None,
        {"meshtune": "[]"},
        {"meshtune": '{"round_index": 1}'},
        {"meshtune": '{"round_index": Infinity, "config_sha256": ""}'},
        {"meshtune": "[" * 100_000},
    ],
)
def test_a_header_that_says_nonsense_is_refused(
    told: dict[str, str] | None, tmp_path: Path
) -> None:
    file = tmp_path / "odd.safetensors"
    save_file({"now.b.x": np.zeros(3, dtype=np.float32)}, file, metadata=told)
    with pytest.raises(CheckpointError, match=r"odd\.safetensors cannot be read"):
        checkpoint_header(file)
    with pytest.raises(CheckpointError, match=r"odd\.safetensors cannot be read"):
        next(peft_folders(file, tiny_config()))


def test_a_checkpoint_of_another_fleet_is_refused(tmp_path: Path) -> None:
    save_state(*started(tiny_config()), tmp_path / "state.safetensors")
    with pytest.raises(CheckpointError, match="not of 3 devices"):
        next(peft_folders(tmp_path / "state.safetensors", tiny_config(fleet__devices=3)))
