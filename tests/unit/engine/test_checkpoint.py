"""A checkpoint is whole and true, or refused."""

from pathlib import Path

import pytest

from meshtune.engine.checkpoint import load_state, save_state
from meshtune.engine.errors import CheckpointError
from meshtune.engine.simulate import simulate
from meshtune.engine.world import State, World, build_world, initial_state
from tests.support.builders import tiny_config


@pytest.fixture(scope="module")
def played() -> tuple[World, State]:
    config = tiny_config(rounds=2, training__local_steps=1, method__kind="so_lora")
    world = build_world(config)
    state, _ = next(simulate(world, initial_state(world)))
    return world, state


@pytest.mark.parametrize("kind", ["so_lora", "choco_gossip", "decaf_gossip", "lori", "full_gossip"])
def test_the_state_of_every_kind_of_memory_comes_back(tmp_path: Path, kind: str) -> None:
    world = build_world(tiny_config(rounds=2, training__local_steps=1, method__kind=kind))
    state, _ = next(simulate(world, initial_state(world)))
    save_state(world, state, tmp_path / "state.safetensors")
    back = load_state(world, tmp_path / "state.safetensors")
    assert back.round_index == 1
    assert {name: value.tolist() for name, value in back.memory.items()} == {
        name: value.tolist() for name, value in state.memory.items()
    }


@pytest.mark.parametrize("share", [0.0, 0.002, 0.1, 0.5, 0.9, 1.0])
def test_a_flipped_bit_anywhere_is_noticed(
    tmp_path: Path, played: tuple[World, State], share: float
) -> None:
    world, state = played
    path = tmp_path / "state.safetensors"
    save_state(world, state, path)
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint state\.safetensors"):
        load_state(world, path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_is_refused(
    tmp_path: Path, played: tuple[World, State], share: float
) -> None:
    world, state = played
    path = tmp_path / "state.safetensors"
    save_state(world, state, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"checkpoint state\.safetensors"):
        load_state(world, path)


def test_a_state_that_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, played: tuple[World, State]
) -> None:
    world, state = played
    path = tmp_path / "state.safetensors"
    save_state(world, state, path)
    path.with_name("state.safetensors.tmp").mkdir()  # in the way
    with pytest.raises(OSError, match="directory"):
        save_state(world, initial_state(world), path)
    assert load_state(world, path).round_index == 1
