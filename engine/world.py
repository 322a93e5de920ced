"""Construction: from a config to everything that a run keeps fixed, and its first state."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from meshtune.engine.adapters.given import given_adapter
from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.answering.exam import Exam
from meshtune.engine.answering.setting import exam_of
from meshtune.engine.backbone.base import Backbone
from meshtune.engine.backbone.encode import Encoded, encode
from meshtune.engine.backbone.model import fast_precision
from meshtune.engine.backbone.spectral import Entropies, layer_densities, spectral_entropies
from meshtune.engine.backbone.tokenizer import Tokenizer
from meshtune.engine.channels import Channel, build_channel
from meshtune.engine.config import RunConfig, TaskName
from meshtune.engine.costs import method_costs, terms
from meshtune.engine.fleet import OptimizerState, TrainingRule
from meshtune.engine.methods.gates import SIGNATURE_SAMPLES
from meshtune.engine.methods.rules import Memory, Method, Setup, Signatures, build_method
from meshtune.engine.methods.shared.signatures import by_device, signatures
from meshtune.engine.models.door import tokenizer_of
from meshtune.engine.models.loading import load_backbone, read_in_full, weights_sha256
from meshtune.engine.peft_start import require_start, start_sha256
from meshtune.engine.records import Provenance
from meshtune.engine.samples import data_sha256, held_out, trained_on
from meshtune.engine.shares import mixtures, samples_per_device
from meshtune.engine.topology import Mesh, build_mesh
from meshtune.engine.topology.changing import ChangingMesh, changing_mesh


@dataclass(frozen=True)
class World:
    """What a run keeps fixed. Leading axis of the pools: device; the first `samples` count.

    `own` is the task that a device holds most of, `mixture` the share of every task in its samples.
    `mesh` is the first one, `changing` says how it goes on. `entropies` are spectral, by module and
    device, if the densities of the method depend on them.
    """

    config: RunConfig
    tasks: tuple[TaskName, ...]
    own: Int[np.ndarray, " n"]
    mixture: Float[Tensor, "n tasks"]
    mesh: Mesh
    changing: ChangingMesh
    channel: Channel
    method: Method
    backbone: Backbone
    rule: TrainingRule
    pool_tokens: Int[Tensor, "n s t"]
    pool_targets: Int[Tensor, "n s t"]
    samples: tuple[int, ...]
    exam: Exam
    entropies: Entropies


@dataclass(frozen=True)
class State:
    """What a round changes, and nothing else. `round_index` counts finished rounds."""

    round_index: int
    adapters: Adapters
    optimizer: OptimizerState
    memory: Memory
    mesh: Mesh


def build_world(config: RunConfig) -> World:
    """Everything that `config` describes, ready to train.

    Raises:
        ConfigMismatch: the config does not fit the model, e.g. a rank above a layer's width.
        AssetMissing: files of the model or of a task are not on this disk.
        DataError: a file of rows has none to train on or to test with.
    """
    tokenizer = tokenizer_of(config.model)
    wanted = config.training.precision
    precision = fast_precision() if wanted == "auto" else wanted
    backbone = load_backbone(config.model, getattr(torch, precision))
    # Gate and spectrum compare small differences: they read float32, whatever trains.
    probe = read_in_full(backbone, config.model)

    tasks = config.fleet.present_tasks()
    own = np.array(config.fleet.held_tasks())
    pools = _pools(config, tokenizer)
    setup = Setup(
        **vars(terms(config)),
        seed=config.seed,
        tasks=tasks,
        scaling=config.adapter.alpha / config.adapter.rank,
        signatures=_signatures(config, probe, pools),
        entropies=_entropies(config, probe, pools),
        given=_given(config),
    )
    training = config.training
    densities = _densities(config, setup)
    mesh = build_mesh(config, densities)
    return World(
        config=config,
        tasks=tasks,
        own=own,
        mixture=torch.tensor(mixtures(config.fleet, config.seed), dtype=torch.float32),
        mesh=mesh,
        changing=changing_mesh(config, mesh, densities),
        channel=build_channel(config),
        method=build_method(config.method, setup),
        backbone=backbone,
        rule=TrainingRule(
            optimizer=training.optimizer,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            clip_norm=training.clip_norm,
            warmup_steps=training.warmup_steps,
            scaling=setup.scaling,
        ),
        pool_tokens=torch.stack([pool.tokens for pool in pools]),
        pool_targets=torch.stack([pool.targets for pool in pools]),
        samples=samples_per_device(config.fleet, config.seed),
        exam=exam_of([held_out(config, task) for task in tasks], tokenizer, probe),
        entropies=setup.entropies,
    )


def initial_state(world: World) -> State:
    """The state before round 0."""
    adapters, memory = world.method.start()
    return State(0, adapters, OptimizerState(), memory, world.mesh)


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
        peft=importlib.metadata.version("peft"),
        numpy=importlib.metadata.version("numpy"),
        scipy=importlib.metadata.version("scipy"),
        device="cpu",
        weights_sha256=weights_sha256(world.config.model),
        data_sha256=data_sha256(world.config),
        start_sha256=start_sha256(world.config.adapter),
    )


def _given(config: RunConfig) -> Callable[[], Adapters] | None:
    """How to read the adapter that the devices start from, if the config names one."""
    if not config.adapter.start_from:
        return None
    return lambda: given_adapter(*require_start(config))


def _pools(config: RunConfig, tokenizer: Tokenizer) -> list[Encoded]:
    # Encoded in one go, so that all pools have the length of the longest sample.
    devices = range(config.fleet.devices)
    drawn = [sample for device in devices for sample in trained_on(config, device)]
    encoded = encode(drawn, tokenizer)
    rows = torch.arange(len(drawn)).split(config.fleet.train_samples)
    return [encoded.rows(part) for part in rows]


def _signatures(config: RunConfig, probe: Backbone, pools: list[Encoded]) -> Signatures:
    """What the gate of the method wants to know of each device's prompts."""
    gate = method_costs(config).gate
    if gate is None:
        return {}
    few = [pool.rows(torch.arange(min(SIGNATURE_SAMPLES, len(pool.tokens)))) for pool in pools]
    tokens = torch.cat([pool.tokens for pool in few])
    inputs = probe.prompt_inputs(tokens, torch.cat([pool.prompt_mask for pool in few]))
    return signatures(gate, by_device(inputs, len(pools)))


def _entropies(config: RunConfig, probe: Backbone, pools: list[Encoded]) -> Entropies:
    """Spectral entropy per module and device, if the densities of the method depend on it."""
    if not method_costs(config).spectral:
        return {}
    few = torch.arange(min(SIGNATURE_SAMPLES, len(pools[0].tokens)))
    parts = [pool.rows(few) for pool in pools]
    return spectral_entropies(
        probe,
        torch.stack([part.tokens for part in parts]),
        torch.stack([part.prompt_mask for part in parts]),
    )


def _densities(config: RunConfig, setup: Setup) -> Float64[np.ndarray, "n layers"] | None:
    """The densities that the layers really have, for clusters to see; None where all are alike."""
    if not setup.entropies:
        return None
    density = method_costs(config).density
    shares = layer_densities(setup.entropies, setup.shapes, setup.rank, density)
    return torch.stack(list(shares.values()), dim=1).double().numpy()


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
