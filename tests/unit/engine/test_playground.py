"""The playground against the evaluation of the run, and its manners with odd prompts."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from meshtune.engine.answering.evaluate import answers
from meshtune.engine.checkpoint import save_state
from meshtune.engine.config import RunConfig, TaskName
from meshtune.engine.errors import AssetMissing
from meshtune.engine.peft_io import peft_folders
from meshtune.engine.peft_start import adapters_here
from meshtune.engine.playground.lab import ANSWER_TOKENS, Lab, ask
from meshtune.engine.playground.outside import outside_adapter
from meshtune.engine.playground.values import Answered, BadPrompt, GateWish, Question
from meshtune.engine.simulate import play_round
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

TASKS: tuple[TaskName, ...] = ("reading", "addition", "list_result")
SO_LORA = {"kind": "so_lora", "mask_warmup_steps": 1}
METHODS: dict[str, dict[str, Any]] = {
    "local": {"kind": "local"},
    "full": {"kind": "full_gossip"},
    "oracle experts": {"kind": "oracle_experts"},
    "stacked": SO_LORA | {"mode": "stack"},
    "repaired": SO_LORA | {"mode": "repaired"},
    "soft": SO_LORA | {"mode": "stack", "gate_blend": "soft", "gate": "gaussian"},
    "token": SO_LORA | {"mode": "stack", "gate_level": "token"},
    "loss": SO_LORA | {"mode": "stack", "gate": "prompt_loss"},
    "no gate": SO_LORA | {"mode": "stack", "gate": "none"},
}
PER_TASK = 2


def config_of(method: str) -> RunConfig:
    return RunConfig.model_validate(
        tiny_config().model_dump()
        | {
            "rounds": 1,
            "fleet": {"devices": 3, "tasks": TASKS, "train_samples": 40},
            "method": METHODS[method],
            "topology": {"kind": "full"},
            "channel": {"kind": "ideal"},
            "training": {
                "local_steps": 6,
                "batch_size": 4,
                "learning_rate": 0.02,
                "precision": "float32",
            },
            "evaluation": {"samples_per_task": PER_TASK},
        }
    )


@cache
def lab_of(method: str, folder: Path) -> Lab:
    world = build_world(config_of(method))
    state = initial_state(world)
    for _ in range(world.config.rounds):
        state, _ = play_round(world, state)
    path = folder / f"{method.replace(' ', '-')}.safetensors"
    save_state(world, state, path)
    return Lab.of(world.config, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labs")


def arm(answered: Answered, name: str) -> Any:
    return next(each for each in answered.arms if each.name == name)


@pytest.mark.parametrize("method", METHODS)
def test_the_device_answers_as_the_evaluation_marks_it(method: str, folder: Path) -> None:
    lab = lab_of(method, folder)
    with torch.no_grad():
        world = lab.world
        marked = answers(world.backbone, lab.bank, world.exam, world.rule.scaling).correct
    name = "own" if lab.bank.gate.kind == "single" else "gated"
    for device in range(3):
        number = device % PER_TASK
        for place, task in list(enumerate(TASKS))[device % 2 :: 2]:  # like a chessboard
            said = arm(ask(lab, lab.question(task, number), device), name).correct
            assert said == bool(marked[device, place * PER_TASK + number]), (device, task)


def test_arms_that_make_no_sense_say_why(folder: Path) -> None:
    plain = ask(lab_of("local", folder), Question("3 + 4 ="), 0)
    assert [each.name for each in plain.arms] == ["base", "own", "merged"]
    assert "one adapter per device" in plain.missing["gated"]
    assert "which task" in plain.missing["oracle"]
    assert plain.kinds == ()
    assert "own adapter and those of 2 neighbours" in plain.merged_of
    stacked = lab_of("stacked", folder)
    off = ask(stacked, stacked.question("addition", 0), 0, GateWish(off=frozenset(range(9))))
    assert "switched off" in off.missing["gated"]


def test_an_adapter_from_outside_answers_beside_those_of_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_of("local", folder)
    (files,) = peft_folders(folder / "local.safetensors", lab.world.config, [1])
    (tmp_path / "adapters" / "mine").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "adapters" / "mine" / name).write_bytes(content)
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path))
    assert adapters_here() == ["mine"]
    question = lab.question("addition", 1)
    there = ask(lab, question, 0, outside=outside_adapter(lab.world.config, "mine"))
    here = ask(lab, question, 1)
    assert arm(there, "outside").likely == arm(here, "own").likely
    assert arm(there, "own").likely != arm(here, "own").likely
    with pytest.raises(AssetMissing, match=r"has no adapter_config\.json"):
        outside_adapter(lab.world.config, "yours")


def test_a_bare_model_is_the_same_on_all_devices_and_an_adapter_is_not(folder: Path) -> None:
    lab = lab_of("local", folder)
    asked = [ask(lab, lab.question("addition", 1), device) for device in (0, 1)]
    assert arm(asked[0], "base") == arm(asked[1], "base")
    assert arm(asked[0], "own").likely != arm(asked[1], "own").likely


@pytest.mark.parametrize("method", ["stacked", "token", "soft"])
def test_weights_are_told_by_module_token_and_expert(method: str, folder: Path) -> None:
    lab = lab_of(method, folder)
    asked = ask(lab, lab.question("list_result", 0), 1)
    held = int((lab.bank.held[1] >= 0).sum())
    assert asked.modules == tuple(lab.bank.experts.b)
    shape = torch.tensor(asked.gate).shape
    tokens = len(asked.tokens) if method == "token" else 1
    assert shape == (len(asked.modules), tokens, held)
    weights = torch.tensor(asked.gate)
    assert ((weights >= 0) & (weights <= 1)).all()
    if method != "soft":  # hard: one expert per module and token
        assert torch.equal(weights.sum(dim=2), torch.ones(shape[:2]))


def test_an_expert_that_is_switched_off_has_no_weight_and_the_next_best_answers(
    folder: Path,
) -> None:
    lab = lab_of("stacked", folder)
    question = lab.question("reading", 0)
    before = ask(lab, question, 0)
    best = max(range(len(before.experts)), key=lambda k: before.experts[k].weight)
    after = ask(lab, question, 0, GateWish(off=frozenset({best})))
    assert after.experts[best].weight == 0.0
    assert not after.experts[best].on
    assert sum(each.weight for each in after.experts) == pytest.approx(1.0)


def test_top_k_leaves_so_many_experts(folder: Path) -> None:
    lab = lab_of("no gate", folder)
    question = lab.question("reading", 0)
    everyone = torch.tensor(ask(lab, question, 0).gate)
    assert (everyone == 1).all()
    wish = GateWish(kind="gaussian", blend="soft", top_k=2)
    if "gaussian" not in ask(lab, question, 0).kinds:
        wish = GateWish(kind="output_norm", blend="soft", top_k=2)
    weights = torch.tensor(ask(lab, question, 0, wish).gate)
    assert ((weights > 0).sum(dim=2) <= 2).all()
    assert ((weights == 1).sum(dim=2) == 1).all()


def test_the_oracle_answers_with_the_expert_of_the_task(folder: Path) -> None:
    lab = lab_of("oracle experts", folder)
    asked = ask(lab, lab.question("addition", 2), 0)
    assert arm(asked, "oracle").likely == arm(asked, "gated").likely
    best = max(asked.experts, key=lambda each: each.weight)
    assert best.task == "addition"


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("\u732b", "does not know the character '\u732b'"),
        ("a" * 500, f"reads {128 - ANSWER_TOKENS - 1}"),
        ("a" * 1_000_000, "shorten it"),
    ],
)
def test_a_prompt_that_cannot_be_asked_is_refused_in_one_sentence(
    prompt: str, says: str, folder: Path
) -> None:
    with pytest.raises(BadPrompt, match=says):
        ask(lab_of("local", folder), Question(prompt), 0)


def test_a_choice_is_the_likeliest_option(folder: Path) -> None:
    lab = lab_of("local", folder)
    question = lab.question("reading", 0)
    if not question.choices:
        pytest.skip("this task generates its answers")
    own = arm(ask(lab, question, 0), "own")
    assert [name for name, _ in own.options] == list(question.choices)
    assert sum(share for _, share in own.options) == pytest.approx(1.0)
    assert own.text == max(own.options, key=lambda each: each[1])[0]
