"""How fast a model in a folder trains by hand, the generic way and by stock PEFT, on one work."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from meshtune.engine.adapters.stack import Adapters, Factor, Factors, initial_adapters
from meshtune.engine.backbone.base import Backbone
from meshtune.engine.backbone.choice import chosen_backbone
from meshtune.engine.backbone.generic.fit import generic_backbone
from meshtune.engine.backbone.generic.model import target_paths
from meshtune.engine.bench.families import lora_weights, stock_peft
from meshtune.engine.bench.fleet import Workload, peft_steps, random_batches
from meshtune.engine.fleet import OptimizerState, train_steps

DEVICES = 8
SHORT = Workload(steps=4, repeats=7)
Work = Callable[[], Tensor]  # losses (steps, devices)


@dataclass(frozen=True)
class WayRow:
    """One line of the table.

    Attributes:
        way: "by hand", "generic" or "peft".
        cpu_ms: Processor time of one device's step, in the median.
        wall_ms: Time on the clock for the same.
        loss_difference: Largest difference of a loss from that of PEFT, over all steps.
    """

    way: str
    cpu_ms: float
    wall_ms: float
    loss_difference: float


def bench_model(folder: Path, workload: Workload = SHORT, devices: int = DEVICES) -> list[WayRow]:
    """Return a row for every way that computes the model of a folder, measured in turn.

    All have one thread, so that processor time is work and not waiting.

    Raises:
        ConfigMismatch: The model's family cannot have an adapter per device.
    """
    with _one_thread():
        works = _works(folder, workload, devices)
        taken: dict[str, list[tuple[float, float]]] = {way: [] for way in works}
        losses: dict[str, Tensor] = {}
        for _ in range(workload.repeats + 1):
            for way, work in works.items():
                began = time.process_time(), time.perf_counter()
                losses[way] = work()
                ended = time.process_time(), time.perf_counter()
                taken[way].append((ended[0] - began[0], ended[1] - began[1]))
    steps = workload.steps * devices / 1000
    rows = []
    for way, seconds in taken.items():
        cpu, wall = (statistics.median(column[1:]) for column in zip(*seconds, strict=True))
        gap = float((losses[way] - losses["peft"]).abs().max())
        rows.append(WayRow(way, cpu / steps, wall / steps, gap))
    return rows


def way_table(rows: Sequence[WayRow]) -> str:
    """Return the rows as a text table."""
    cpu = {row.way: row.cpu_ms for row in rows}
    lines = [
        f"{'way':<9} {'cpu ms':>8} {'wall ms':>8} {'of hand':>8} {'x peft':>7} {'loss diff':>9}"
    ]
    for row in rows:
        of_hand = f"{cpu['by hand'] / row.cpu_ms:>8.0%}" if "by hand" in cpu else f"{'-':>8}"
        lines.append(
            f"{row.way:<9} {row.cpu_ms:>8.2f} {row.wall_ms:>8.2f} {of_hand}"
            f" {cpu['peft'] / row.cpu_ms:>7.2f} {row.loss_difference:>9.1e}"
        )
    note = "of one device's step on one thread; of hand, x peft: speed by cpu time"
    return "\n".join([*lines, note])


def _works(folder: Path, workload: Workload, devices: int) -> dict[str, Work]:
    paths = target_paths(_loaded(folder))
    generic = generic_backbone(_loaded(folder))
    chosen = chosen_backbone(_loaded(folder))
    generator = torch.Generator().manual_seed(0)
    adapters = initial_adapters(generic.shapes, devices, workload.rank, generator)
    vocab = len(generic.model.get_output_embeddings().weight)
    batches = random_batches(workload, devices, vocab, generator)
    peft = stock_peft(_loaded(folder), workload.rank, workload.rule.scaling)
    ways: dict[str, Backbone] = {"by hand": chosen.backbone} if chosen.path == "own" else {}
    ways["generic"] = generic
    works: dict[str, Work] = {
        way: partial(_fleet, backbone, workload, adapters, batches)
        for way, backbone in ways.items()
    }
    return works | {"peft": partial(_one_by_one, peft, paths, workload, adapters, batches)}


def _fleet(
    backbone: Backbone, workload: Workload, adapters: Adapters, batches: tuple[Tensor, Tensor]
) -> Tensor:
    return train_steps(backbone, workload.rule, adapters, OptimizerState(), batches)[2]


def _one_by_one(
    peft: Any,
    paths: dict[str, str],
    workload: Workload,
    adapters: Adapters,
    batches: tuple[Tensor, Tensor],
) -> Tensor:
    given: dict[Factor, Factors] = {"a": adapters.a, "b": adapters.b}
    losses = []
    for device in range(batches[0].shape[1]):
        for (name, kind), parameter in lora_weights(peft, paths).items():
            parameter.data.copy_(given[kind][name][device])
        losses.append(
            peft_steps(peft, (batches[0][:, device], batches[1][:, device]), workload.rule)
        )
    return torch.stack(losses, dim=1)


def _loaded(folder: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    return model.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
