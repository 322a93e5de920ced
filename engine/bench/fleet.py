"""How fast the fleet engine trains, against stock PEFT one device at a time on the same work."""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import torch
from jaxtyping import Int
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from meshtune.engine.adapters.stack import Adapters, initial_adapters, module_shapes, select
from meshtune.engine.backbone.base import IGNORED_TARGET
from meshtune.engine.backbone.embedded import embedded_folder
from meshtune.engine.backbone.llama import Llama, backbone_from_llama
from meshtune.engine.fleet import OptimizerState, TrainingRule, train_steps

T = TypeVar("T")
Precision = Literal["float32", "bfloat16"]
GEMM_REPEATS = 10


@dataclass(frozen=True)
class Workload:
    """The work that is timed: every device takes `steps` steps on its own batches.

    Sequences of random tokens, whose values do not change the time: a prompt and then an answer,
    which alone is scored, as in the tasks.
    """

    batch: int = 8
    tokens: int = 32
    answer_tokens: int = 8
    rank: int = 8
    steps: int = 10
    repeats: int = 5
    peft_devices: int = 1
    gemm_devices: int = 8
    rule: TrainingRule = field(default_factory=lambda: TrainingRule(scaling=2.0))


@dataclass(frozen=True)
class BenchRow:
    """One line of the table.

    Attributes:
        devices: Devices in the fleet.
        precision: Of the fleet's matrix products; PEFT always computes in float32.
        fleet_device_steps_per_s: Steps of one device that the fleet engine does per second.
        peft_device_steps_per_s: The same for stock PEFT with torch's AdamW and default attention.
        ratio: Fleet over PEFT.
        gemm_share: Fleet's floating-point rate as a share of what this machine's matrix product
            reaches on the backbone's own shapes in this precision.
        peft_devices: Devices on which PEFT was timed; its rate does not depend on their number.
        loss_difference: Largest difference between a fleet and a PEFT loss over timed devices
            and steps.
        threads: Threads of both.
    """

    devices: int
    precision: Precision
    fleet_device_steps_per_s: float
    peft_device_steps_per_s: float
    ratio: float
    gemm_share: float
    peft_devices: int
    loss_difference: float
    threads: int


def bench(
    devices: Sequence[int] = (4, 16, 64),
    workload: Workload | None = None,
    model: PreTrainedModel | None = None,
) -> list[BenchRow]:
    """Return a row for every number of devices and precision, all measured in this run.

    The kinds of work alternate and every rate comes from the median time, so that a busy moment
    of the machine does not fall on one kind alone.

    Args:
        devices: Fleet sizes.
        workload: Shape of a step and number of repeats.
        model: A `LlamaForCausalLM`, the embedded backbone if left out. It is changed by PEFT.
    """
    workload = workload or Workload()
    model = model or AutoModelForCausalLM.from_pretrained(embedded_folder(), local_files_only=True)
    backbones = {
        precision: backbone_from_llama(model, getattr(torch, precision))
        for precision in get_args(Precision)
    }
    shapes = module_shapes(backbones["float32"])
    generator = torch.Generator().manual_seed(0)
    most = initial_adapters(shapes, max(devices), workload.rank, generator)
    batches = random_batches(workload, max(devices), len(backbones["float32"].head), generator)
    targets = sorted({name.rsplit(".", 1)[1] for name in shapes})
    config = LoraConfig(
        r=workload.rank,
        lora_alpha=round(workload.rule.scaling * workload.rank),
        target_modules=targets,
    )
    with warnings.catch_warnings():  # PEFT asks transformers for an attribute it has renamed
        warnings.simplefilter("ignore", FutureWarning)
        peft = get_peft_model(model, config)
    return [
        row
        for count in devices
        for row in _rows(
            backbones,
            peft,
            select(most, range(count)),
            (batches[0][:, :count], batches[1][:, :count]),
            workload,
        )
    ]


def table(rows: Sequence[BenchRow]) -> str:
    """Return the rows as a text table."""
    head = (
        f"{'devices':>7}  {'precision':<9}  {'fleet':>8}  {'peft':>8}  {'ratio':>6}"
        f"  {'gemm share':>10}  {'loss diff':>9}"
    )
    lines = [
        f"{row.devices:>7}  {row.precision:<9}  {row.fleet_device_steps_per_s:>8.1f}"
        f"  {row.peft_device_steps_per_s:>8.1f}  {row.ratio:>5.1f}x"
        f"  {row.gemm_share:>10.0%}  {row.loss_difference:>9.1e}"
        for row in rows
    ]
    note = (
        f"fleet, peft: device-steps per second on {rows[0].threads} threads; peft is stock PEFT in "
        f"float32, one device at a time, timed on at most {max(r.peft_devices for r in rows)} "
        "device(s)\ngemm share: of this machine's matrix-product rate on the same shapes\n"
        "other busy processes slow the threads of peft more than the fleet: measure on an idle "
        "machine"
    )
    return "\n".join([head, *lines, note])


def as_json(rows: Sequence[BenchRow]) -> list[dict[str, Any]]:
    """Return the rows as plain values."""
    return [asdict(row) for row in rows]


def step_flops(backbone: Llama, workload: Workload) -> int:
    """Return the multiplications and additions in the matrix products of one device's step.

    Frozen weights: forward and the gradient of the input (2 + 2 per weight and token), which the
    first layer's q, k and v do not need. Adapters: forward and both gradients (2 + 4). Attention:
    two products forward and four backward over all keys. Past the last attention, and in the head
    (2 + 2), only scored tokens count.
    """
    first, last = backbone.layers[0], backbone.layers[-1]
    past_attention = last.o.names + last.gate_up.names + last.down.names
    flops = 0
    for name, (d_out, d_in) in backbone.shapes.items():
        tokens = workload.answer_tokens if name in past_attention else workload.tokens
        flops += tokens * (2 if name in first.qkv.names else 4) * d_out * d_in
        flops += tokens * 6 * workload.rank * (d_out + d_in)
    width = backbone.heads * backbone.head_size
    flops += len(backbone.layers) * 6 * 2 * workload.tokens**2 * width
    flops += 4 * workload.answer_tokens * backbone.head.numel()
    return workload.batch * flops


def _rows(
    backbones: dict[Precision, Llama],
    peft: Any,
    adapters: Adapters,
    batches: tuple[Tensor, Tensor],
    workload: Workload,
) -> list[BenchRow]:
    count = batches[0].shape[1]
    timed = min(count, workload.peft_devices)
    fleet_s: dict[Precision, list[float]] = {precision: [] for precision in backbones}
    gemm_s: dict[Precision, list[float]] = {precision: [] for precision in backbones}
    fleet_losses: dict[Precision, Tensor] = {}
    peft_s = []
    for _ in range(workload.repeats + 1):
        for precision, backbone in backbones.items():
            seconds, (_, _, fleet_losses[precision]) = _timed(
                partial(train_steps, backbone, workload.rule, adapters, OptimizerState(), batches)
            )
            fleet_s[precision].append(seconds)
            gemm_s[precision].append(_gemm_seconds(backbone, workload))
        seconds, peft_losses = _peft_run(peft, adapters, batches, range(timed), workload)
        peft_s.append(seconds)
    flops = step_flops(backbones["float32"], workload)
    peft_rate = timed * workload.steps / _typical(peft_s)
    rows = []
    for precision, backbone in backbones.items():
        rate = count * workload.steps / _typical(fleet_s[precision])
        gemm_rate = _gemm_flops(backbone, workload) / _typical(gemm_s[precision])
        rows.append(
            BenchRow(
                devices=count,
                precision=precision,
                fleet_device_steps_per_s=rate,
                peft_device_steps_per_s=peft_rate,
                ratio=rate / peft_rate,
                gemm_share=rate * flops / gemm_rate,
                peft_devices=timed,
                loss_difference=float(
                    (fleet_losses[precision][:, :timed] - peft_losses).abs().max()
                ),
                threads=torch.get_num_threads(),
            )
        )
    return rows


def _typical(seconds: list[float]) -> float:
    """Return the median without the first, which pays for warming up."""
    return statistics.median(seconds[1:])


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _peft_run(
    peft: Any,
    adapters: Adapters,
    batches: tuple[Tensor, Tensor],
    devices: Sequence[int],
    workload: Workload,
) -> tuple[float, Tensor]:
    """Train the devices one after another with stock tools: seconds and losses (steps, devices)."""
    peft.train()
    seconds, losses = 0.0, []
    for device in devices:
        _load(peft, adapters, device)
        batch = batches[0][:, device], batches[1][:, device]
        took, loss = _timed(partial(peft_steps, peft, batch, workload.rule))
        seconds += took
        losses.append(loss)
    return seconds, torch.stack(losses, dim=1)


def peft_steps(peft: Any, batches: tuple[Tensor, Tensor], rule: TrainingRule) -> Tensor:
    """Train one device by the loop that the documentation of PEFT teaches; losses of the steps."""
    parameters = [parameter for parameter in peft.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rule.learning_rate, weight_decay=rule.weight_decay)
    losses = []
    for tokens, targets in zip(*batches, strict=True):
        labels = targets.roll(1, dims=-1)  # transformers shifts them back
        loss = peft(input_ids=tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        if rule.clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters, rule.clip_norm)
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def _load(peft: Any, adapters: Adapters, device: int) -> None:
    """Write one device's adapter into the PEFT model."""
    layers = peft.get_base_model().model.layers
    with torch.no_grad():
        for name in adapters.a:
            _, index, kind = name.split(".")
            block = layers[int(index)]
            linear = getattr(block.self_attn, kind, None) or getattr(block.mlp, kind)
            linear.lora_A["default"].weight.copy_(adapters.a[name][device])
            linear.lora_B["default"].weight.copy_(adapters.b[name][device])


def random_batches(
    workload: Workload, devices: int, vocab: int, generator: torch.Generator
) -> tuple[Int[Tensor, "steps n b t"], Int[Tensor, "steps n b t"]]:
    """Return tokens and targets of every step and device."""
    size = (workload.steps, devices, workload.batch, workload.tokens)
    tokens = torch.randint(vocab, size, generator=generator)
    targets = tokens.roll(-1, dims=-1)
    targets[..., : -workload.answer_tokens - 1] = IGNORED_TARGET
    targets[..., -1] = IGNORED_TARGET
    return tokens, targets


def _gemm_operands(backbone: Llama, workload: Workload) -> Iterator[tuple[Tensor, Tensor]]:
    tokens = workload.gemm_devices * workload.batch * workload.tokens
    layer = backbone.layers[0]
    for projection in (layer.qkv, layer.o, layer.gate_up, layer.down):
        for product in projection.products:
            weight = product.weight.T
            yield torch.ones(tokens, len(weight), dtype=weight.dtype), weight


def _gemm_seconds(backbone: Llama, workload: Workload) -> float:
    """Return the time of one layer's base products for some devices, each straight after itself."""
    operands = [(x, w, x @ w) for x, w in _gemm_operands(backbone, workload)]
    began = time.perf_counter()
    for x, weight, out in operands:
        for _ in range(GEMM_REPEATS):
            torch.mm(x, weight, out=out)
    return (time.perf_counter() - began) / GEMM_REPEATS


def _gemm_flops(backbone: Llama, workload: Workload) -> int:
    return sum(2 * x.numel() * w.shape[1] for x, w in _gemm_operands(backbone, workload))
