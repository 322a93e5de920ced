"""Construction: from a config to everything that a run keeps fixed, and its first state."""

import importlib.metadata
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from engine.adapters import Adapters
from engine.backbone.embedded import load_embedded
from engine.backbone.forward import (
    Backbone,
    backbone_from_llama,
    fast_precision,
    prompt_inputs,
)
from engine.channels import Channel, build_channel
from engine.config import RunConfig, SoLora, TaskName
from engine.evaluate import Exam
from engine.fleet import OptimizerState, TrainingRule
from engine.methods import Memory, Method, Setup, build_method
from engine.records import Provenance
from engine.tasks import build_task, test_samples, train_samples
from engine.tasks.encode import Encoded, choice_tokens, encode
from engine.topology import Mesh, build_mesh

PROTOTYPE_SAMPLES = 32  # per device; more do not move the mean by what a cosine can see


@dataclass(frozen=True)
class World:
    """What a run keeps fixed. Leading axis of the pools: device."""

    config: RunConfig
    tasks: tuple[TaskName, ...]
    own: Int[np.ndarray, " n"]
    mesh: Mesh
    channel: Channel
    method: Method
    backbone: Backbone
    rule: TrainingRule
    pool_tokens: Int[Tensor, "n s t"]
    pool_targets: Int[Tensor, "n s t"]
    exam: Exam


@dataclass(frozen=True)
class State:
    """What a round changes, and nothing else. `round_index` counts finished rounds."""

    round_index: int
    adapters: Adapters
    optimizer: OptimizerState
    memory: Memory


def build_world(config: RunConfig) -> World:
    """Everything that `config` describes, ready to train.

    Raises:
        ConfigMismatch: the config does not fit the model, e.g. a rank above a layer's width.
        AssetMissing: the model files are not on this disk.
    """
    model, tokenizer = load_embedded()
    wanted = config.training.precision
    precision = fast_precision() if wanted == "auto" else wanted
    backbone = backbone_from_llama(model, getattr(torch, precision))
    # The gate compares small angles: its inputs are computed in float32, whatever trains.
    gated = isinstance(config.method, SoLora) and config.method.gate == "prototype"
    probe = backbone_from_llama(model, torch.float32) if gated else None

    tasks = config.fleet.present_tasks()
    own = np.array([tasks.index(config.fleet.task_of(i)) for i in range(config.fleet.devices)])
    mesh = build_mesh(config)
    pools = _pools(config, tasks, own, tokenizer)
    setup = Setup(
        seed=config.seed,
        rounds=config.rounds,
        tasks=tasks,
        own=own,
        linked=mesh.linked,
        shapes=dict(backbone.shapes),
        rank=config.adapter.rank,
        value_bits=config.adapter.value_bits,
        prototypes=_prototypes(probe, pools) if probe else {},
    )
    training = config.training
    return World(
        config=config,
        tasks=tasks,
        own=own,
        mesh=mesh,
        channel=build_channel(config),
        method=build_method(config.method, setup),
        backbone=backbone,
        rule=TrainingRule(
            optimizer=training.optimizer,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            clip_norm=training.clip_norm,
            warmup_steps=training.warmup_steps,
            scaling=config.adapter.alpha / config.adapter.rank,
        ),
        pool_tokens=torch.stack([pool.tokens for pool in pools]),
        pool_targets=torch.stack([pool.targets for pool in pools]),
        exam=_exam(config, tasks, probe, tokenizer),
    )


def initial_state(world: World) -> State:
    """The state before round 0."""
    adapters, memory = world.method.start()
    return State(0, adapters, OptimizerState(), memory)


def provenance(world: World) -> Provenance:
    """Versions, threads, precision and commit under which `world` computes."""
    commit, dirty = _commit()
    return Provenance(
        meshtune=importlib.metadata.version("meshtune"),
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=importlib.metadata.version("transformers"),
        platform=platform.platform(),
        threads=torch.get_num_threads(),
        precision=str(world.backbone.dtype).removeprefix("torch."),
        commit=commit,
        dirty=dirty,
    )


def _pools(
    config: RunConfig,
    tasks: tuple[TaskName, ...],
    own: Int[np.ndarray, " n"],
    tokenizer: PreTrainedTokenizerBase,
) -> list[Encoded]:
    # Encoded in one go, so that all pools have the length of the longest sample.
    drawn = [
        sample
        for device, task in enumerate(own)
        for sample in train_samples(
            build_task(tasks[task]), config.seed, device, config.fleet.train_samples
        )
    ]
    encoded = encode(drawn, tokenizer)
    rows = torch.arange(len(drawn)).split(config.fleet.train_samples)
    return [encoded.rows(part) for part in rows]


def _prototypes(backbone: Backbone, pools: list[Encoded]) -> dict[str, Float[Tensor, "n d_in"]]:
    """Mean layer input of each device's prompts; modules that share an input share the tensor."""
    few = [pool.rows(torch.arange(min(PROTOTYPE_SAMPLES, len(pool.tokens)))) for pool in pools]
    tokens = torch.cat([pool.tokens for pool in few])
    inputs = prompt_inputs(backbone, tokens, torch.cat([pool.prompt_mask for pool in few]))
    means: dict[int, Tensor] = {}
    for value in inputs.values():
        if id(value) not in means:
            means[id(value)] = value.view(len(few), -1, value.shape[1]).mean(dim=1)
    return {name: means[id(value)] for name, value in inputs.items()}


def _exam(
    config: RunConfig,
    tasks: tuple[TaskName, ...],
    probe: Backbone | None,
    tokenizer: PreTrainedTokenizerBase,
) -> Exam:
    count = config.evaluation.samples_per_task
    samples = [
        sample for name in tasks for sample in test_samples(build_task(name), config.seed, count)
    ]
    encoded = encode(samples, tokenizer)
    return Exam(
        tokens=encoded.tokens,
        targets=encoded.targets,
        choices=choice_tokens(samples, tokenizer),
        task=torch.arange(len(tasks)).repeat_interleave(count),
        inputs=prompt_inputs(probe, encoded.tokens, encoded.prompt_mask) if probe else {},
    )


def _commit() -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the source tree; (None, None) for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return head, bool(changes)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
