"""N devices train their adapters together: batched local steps over one frozen backbone."""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from queue import SimpleQueue
from threading import Event
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim.adamw import adamw

from meshtune.engine.adapters.stack import Adapters, Factor, Factors, Masks, flatten, unflatten
from meshtune.engine.backbone.base import IGNORED_TARGET, Backbone
from meshtune.engine.groups import device_groups
from meshtune.engine.threads import side_by_side

BOTH_FACTORS: frozenset[Factor] = frozenset(("a", "b"))

ADAM_BETAS = (0.9, 0.999)
ADAM_EPS = 1e-8


@dataclass(frozen=True)
class TrainingRule:
    """How a device turns gradients into steps; the precision is the backbone's.

    Attributes:
        optimizer: AdamW (Loshchilov and Hutter, 2019) or plain gradient descent.
        learning_rate: Step size after the warm-up.
        weight_decay: Decoupled decay: a step first scales trained values by 1 - rate * decay.
        clip_norm: Largest norm of one device's gradient over all its trained values; None or 0
            for no limit.
        warmup_steps: Step k (from 0) uses min(1, (k + 1) / warmup_steps) of the learning rate.
        scaling: Factor of B A, alpha / r in LoRA.
        group_size: Devices per batched pass, None to choose by size. It changes results by
            rounding only.
    """

    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    warmup_steps: int = 0
    scaling: float = 1.0
    group_size: int | None = None

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))


@dataclass(frozen=True)
class OptimizerState:
    """What the optimizer remembers between calls; a factor without moments has none yet (zeros).

    Attributes:
        step: Steps done since the start of the run, which the warm-up counts.
        m: Running means of the gradient.
        v: Running means of the squared gradient.
        updates: Steps in which a factor was trained, which AdamW's bias correction counts.
    """

    step: int = 0
    m: Adapters = field(default_factory=lambda: Adapters({}, {}))
    v: Adapters = field(default_factory=lambda: Adapters({}, {}))
    updates: dict[Factor, int] = field(default_factory=lambda: {"a": 0, "b": 0})


def train_steps(  # noqa: PLR0913 - the last three are named and mostly left out
    backbone: Backbone,
    rule: TrainingRule,
    adapters: Adapters,
    opt_state: OptimizerState,
    batches: tuple[Int[Tensor, "steps n b t"], Int[Tensor, "steps n b t"]],
    *,
    trained: frozenset[Factor] = BOTH_FACTORS,
    masks: Masks | None = None,
    stop: Callable[[], None] | None = None,
) -> tuple[Adapters, OptimizerState, Float[Tensor, "steps n"]]:
    """Return the adapters, optimizer state and losses after every device's local steps.

    Each device takes the steps it would take alone with `torch.optim.AdamW` (or SGD) and
    `clip_grad_norm_`; its result depends on the other devices by float rounding only. The loss
    of a step is the one before its update.

    Args:
        backbone: The frozen model; its dtype is the precision of the matrix products. Adapters
            and optimizer stay float32.
        rule: Optimizer settings, the same for all devices.
        adapters: A and B of the n devices before the first step.
        opt_state: State that the last call returned, `OptimizerState()` at the start.
        batches: Tokens and targets of every step; targets as in `fleet_loss`.
        trained: Factors that move; the others keep their values and moments.
        masks: Entries of B that exist (True). The others are set to zero and stay zero, in B and
            in its moments.
        stop: Called in this thread once for every step of every group (`device_groups`); ends
            the training by raising, at the latest one step later.
    """
    tokens, targets = batches
    steps, n, b, t = tokens.shape
    fleet = _Buffers.start(rule, adapters, opt_state, trained, masks)
    losses = torch.empty(steps, n)

    def train(group: slice, proceed: Callable[[], None]) -> None:
        buffers = fleet.of(group)
        # What comes after the last scored token of the group changes nothing and is left out.
        scored = (targets[:, group] != IGNORED_TARGET).flatten(0, 2).any(dim=0)
        used = int(scored.nonzero().max()) if scored.any() else 0
        for k in range(steps):
            proceed()
            batch = tokens[k, group, :, : used + 1], targets[k, group, :, : used + 1]
            losses[k, group], gradient = _loss_and_gradient(
                backbone, rule, adapters, buffers, batch
            )
            buffers.descend(rule, gradient, opt_state, k)

    _keep_freed_memory()
    _in_threads(train, device_groups(n, b * t, rule.group_size), stop)
    updates: dict[Factor, int] = {
        kind: count + steps * (kind in trained) for kind, count in opt_state.updates.items()
    }
    return (
        _unflatten_all(fleet.values, adapters),
        OptimizerState(
            step=opt_state.step + steps,
            m=_unflatten_all(fleet.m, adapters),
            v=_unflatten_all(fleet.v, adapters),
            updates=updates,
        ),
        losses,
    )


def _in_threads(
    train: Callable[[slice, Callable[[], None]], None],
    groups: list[slice],
    stop: Callable[[], None] | None,
) -> None:
    """Train the groups side by side.

    `stop` is called from this thread, before every step of every group.
    """
    events: SimpleQueue[Literal["step", "done"]] = SimpleQueue()
    ended = Event()

    def proceed() -> None:
        if ended.is_set():
            raise _Ended
        events.put("step")

    def run(group: slice) -> None:
        try:
            train(group, proceed)
        finally:
            events.put("done")

    with side_by_side(len(groups)) as pool:
        try:
            futures = [pool.submit(run, group) for group in groups]
            running = len(groups)
            while running:
                if events.get() == "done":
                    running -= 1
                elif stop is not None:
                    stop()
            for future in futures:
                future.result()
        finally:
            ended.set()


class _Ended(Exception):
    """Ends a thread whose result nobody wants any more."""


@cache
def _keep_freed_memory() -> None:
    """Ask glibc to reuse freed memory rather than return it to the system after every operation.

    Tensors of a step are larger than glibc's threshold for fresh pages, and a fifth of a step
    went into page faults. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3
        mallopt(mmap_threshold, 32 * 2**20)
        mallopt(trim_threshold, 256 * 2**20)


Flat = dict[Factor, Float[Tensor, "n _"]]  # A and B differ in width


@dataclass(frozen=True)
class _Buffers:
    """All values of the devices as one row each, owned by one call and updated in place.

    `values` holds both factors, `trained` names those that move, `m` and `v` hold the moments of
    every factor that has some, and `keep` the entries of B that exist.
    """

    values: Flat
    m: Flat
    v: Flat
    keep: dict[Factor, Tensor]
    trained: tuple[Factor, ...]

    @staticmethod
    def start(
        rule: TrainingRule,
        adapters: Adapters,
        opt_state: OptimizerState,
        trained: frozenset[Factor],
        masks: Masks | None,
    ) -> "_Buffers":
        buffers = _Buffers(
            values=_flatten_all(adapters),
            m=_flatten_all(opt_state.m),
            v=_flatten_all(opt_state.v),
            keep={} if masks is None else {"b": flatten({k: masks[k] for k in adapters.b})},
            trained=tuple(sorted(trained)),
        )
        if rule.optimizer == "adamw":
            for kind in buffers.trained:
                for moment in (buffers.m, buffers.v):
                    moment.setdefault(kind, torch.zeros_like(buffers.values[kind]))
        for kind, keep in buffers.keep.items():
            for rows in (buffers.values, buffers.m, buffers.v):
                if kind in rows:
                    rows[kind] *= keep
        return buffers

    def of(self, devices: slice) -> "_Buffers":
        """Return the rows of some devices, as views."""

        def rows(flat: dict[Factor, Tensor]) -> dict[Factor, Tensor]:
            return {kind: value[devices] for kind, value in flat.items()}

        return _Buffers(
            rows(self.values), rows(self.m), rows(self.v), rows(self.keep), self.trained
        )

    def descend(
        self, rule: TrainingRule, gradient: Flat, opt_state: OptimizerState, k: int
    ) -> None:
        """Take step k of this call along the gradient, which is used up."""
        for kind in self.keep.keys() & gradient.keys():
            gradient[kind] *= self.keep[kind]
        if rule.clip_norm:
            _clip(gradient, rule.clip_norm)
        rate = rule.rate(opt_state.step + k)
        for kind, slope in gradient.items():
            value = self.values[kind]
            if rule.optimizer == "sgd":
                value *= 1 - rate * rule.weight_decay
                value.sub_(slope, alpha=rate)
            else:
                count = opt_state.updates[kind] + k
                _adam_step(rule, rate, count, (value, slope, self.m[kind], self.v[kind]))


def _adam_step(rule: TrainingRule, rate: float, count: int, rows: tuple[Tensor, ...]) -> None:
    """Step from value along slope in place, after `count` steps: torch's AdamW in one pass."""
    value, slope, m, v = rows
    adamw(
        [value],
        [slope],
        [m],
        [v],
        [],
        [torch.tensor(float(count))],
        fused=True,
        amsgrad=False,
        beta1=ADAM_BETAS[0],
        beta2=ADAM_BETAS[1],
        lr=rate,
        weight_decay=rule.weight_decay,
        eps=ADAM_EPS,
        maximize=False,
    )


def _clip(gradient: Flat, limit: float) -> None:
    """Scale each device's gradient in place to at most `limit`, as `clip_grad_norm_` does."""
    norms = torch.stack([torch.linalg.vector_norm(rows, dim=1) for rows in gradient.values()])
    norm = torch.linalg.vector_norm(norms, dim=0)
    shrink = (limit / (norm + 1e-6)).clamp(max=1.0)[:, None]
    for rows in gradient.values():
        rows *= shrink


def _loss_and_gradient(
    backbone: Backbone,
    rule: TrainingRule,
    like: Adapters,
    buffers: _Buffers,
    batch: tuple[Tensor, Tensor],
) -> tuple[Float[Tensor, " n"], Flat]:
    """Return each device's loss and the gradient of its trained values, one row per device."""
    # An adapter without A is a full update (`Adapters`).
    a = unflatten(buffers.values["a"].to(backbone.dtype), like.a) if like.a else {}
    b = unflatten(buffers.values["b"].to(backbone.dtype), like.b)
    loss, gradient = backbone.gradient(
        *batch, a, b, rule.scaling, trained=frozenset(buffers.trained)
    )
    return loss, {kind: flatten(factors).float() for kind, factors in gradient.items()}


def _flatten_all(adapters: Adapters) -> Flat:
    factors: dict[Factor, Factors] = {"a": adapters.a, "b": adapters.b}
    return {kind: flatten(values) for kind, values in factors.items() if values}


def _unflatten_all(flat: Flat, like: Adapters) -> Adapters:
    factors: dict[Factor, Factors] = {"a": like.a, "b": like.b}
    a, b = (
        {name: value.contiguous() for name, value in unflatten(flat[kind], factors[kind]).items()}
        if kind in flat
        else {}
        for kind in ("a", "b")
    )
    return Adapters(a, b)
