"""Slow, obvious gates and mixtures: one expert, one input, one token at a time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.methods.rules import Bank, Gate, Signatures

SHRINKAGE = 0.1
BLIND_TO_INPUTS = ("none", "oracle", "prompt_loss", "single")


def slow_score(
    kind: str, x: Tensor, module: str, experts: Adapters, signatures: Signatures
) -> list[float]:
    """Score of every expert for one input x, from the definitions, in float64."""
    x = x.double()
    count = len(experts.b[module])
    a, b = experts.a[module].double(), experts.b[module].double()
    told = {what: value[module].double() for what, value in signatures.items() if value}
    centre = sum(told["mean"]) / count if "mean" in told else None
    scores = []
    for k in range(count):
        delta = b[k] @ a[k]
        if kind == "projection_norm":
            score = (a[k] @ x).norm()
        elif kind == "output_norm":
            score = (delta @ x).norm()
        elif kind == "arrow":
            score = (torch.linalg.svd(delta).Vh[0] @ x).abs()
        elif kind == "prototype":
            away, towards = x - centre, told["mean"][k] - centre
            score = away @ towards / (away.norm() * towards.norm())
        elif kind == "subspace":
            away = x - told["mean"][k]
            score = sum((row @ away) ** 2 for row in told["basis"][k]) / (away @ away)
        elif kind == "gaussian":
            pooled = sum(told["variance"]) / count
            pooled = (1 - SHRINKAGE) * pooled + SHRINKAGE * pooled.mean()
            score = -((x - told["mean"][k]) ** 2 / pooled).sum() / 2
        else:
            raise AssertionError(kind)
        scores.append(float(score))
    return scores


def slow_weights(gate: Gate, scores: list[float]) -> list[float]:
    """Weights of the experts from their scores."""
    if gate.kind == "none":
        return [1.0] * len(scores)
    best = max(scores)
    log_scores = gate.kind in ("gaussian", "prompt_loss")
    alone = best <= 0 and not log_scores
    if gate.blend == "hard" or gate.kind in ("oracle", "single") or alone:
        return [float(k == scores.index(best)) for k in range(len(scores))]
    if log_scores:
        return [float(torch.tensor(s - best).exp()) for s in scores]
    return [max(s, 0.0) / best for s in scores]


def slow_top(gate: Gate, z: list[Tensor]) -> list[Tensor]:
    """Only the largest coordinates of z = g A x, over all experts or in each."""
    if gate.top_ranks == 0:
        return z
    rank = len(z[0])
    flat = [(k, i) for k in range(len(z)) for i in range(rank)]
    groups = (
        [flat]
        if gate.top_ranks_over == "all"
        else [[p for p in flat if p[0] == k] for k, _ in flat]
    )
    kept = [torch.zeros_like(part) for part in z]
    for group in groups:
        largest = sorted(group, key=lambda p: -abs(float(z[p[0]][p[1]])))
        for k, i in largest[: gate.top_ranks]:
            kept[k][i] = z[k][i]
    return kept


def slow_logits(
    llama: LlamaForCausalLM,
    tokens: Tensor,
    experts: Adapters,
    weigh: Callable[[str, Tensor], list[float]],
    gate: Gate,
    scaling: float,
) -> Tensor:
    """Logits (t vocab) of one sequence under y = W0 x + scaling sum_k B_k top(g_k A_k x).

    `weigh(module, x)` gives the weights of the experts for the input x of one token.
    """

    def hook_for(name: str) -> Callable[..., Tensor]:
        def hook(_module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            rows = []
            for x, y in zip(inputs[0][0], output[0], strict=True):
                weights = weigh(name, x)
                z = [g * (a @ x) for g, a in zip(weights, experts.a[name], strict=True)]
                z = slow_top(gate, z)
                rows.append(
                    y + scaling * sum(b @ c for b, c in zip(experts.b[name], z, strict=True))
                )
            return torch.stack(rows)[None]

        return hook

    handles = [
        module.register_forward_hook(hook_for(name.replace("self_attn.", "").replace("mlp.", "")))
        for name, module in llama.model.named_modules()
        if name.endswith("_proj")
    ]
    with torch.no_grad():
        logits: Tensor = llama(tokens[None]).logits[0]
    for handle in handles:
        handle.remove()
    return logits


def held_experts(bank: Bank, device: int) -> tuple[Adapters, Signatures, Tensor]:
    """What a device holds: experts, their signatures, and their numbers in the bank."""
    numbers = bank.held[device][bank.held[device] >= 0]
    experts = Adapters(
        {name: value[numbers] for name, value in bank.experts.a.items()},
        {name: value[numbers] for name, value in bank.experts.b.items()},
    )
    told = {
        what: {name: value[numbers] for name, value in by_module.items()}
        for what, by_module in bank.signatures.items()
    }
    return experts, told, numbers
