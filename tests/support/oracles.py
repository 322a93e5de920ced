"""Slow, obvious references: one device at a time with transformers and stock PEFT."""

import warnings
from collections.abc import Callable, Iterator

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.fleet import TrainingRule

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def random_llama(
    *, width: int = 32, layers: int = 2, heads: int = 4, kv_heads: int = 4, vocab: int = 50
) -> LlamaForCausalLM:
    """A small Llama with random weights, norm gains included, the same at every call."""
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=width,
        intermediate_size=width * 5 // 2,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(0.5 + torch.rand_like(parameter))
            else:
                parameter.mul_(4.0)  # the default 0.02 leaves the model almost linear
    return model.eval()


def peft_parameters(model: torch.nn.Module) -> Iterator[tuple[str, str, torch.nn.Parameter]]:
    """Yield (module as the engine names it, "a" or "b", parameter) of a PEFT model."""
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            path = name.split(".")
            module = f"layers.{path[path.index('layers') + 1]}.{path[-4]}"
            yield module, path[-3].removeprefix("lora_").lower(), parameter


def peft_model(
    llama: LlamaForCausalLM, adapters: Adapters, device: int, scaling: float
) -> torch.nn.Module:
    """The model with one device's adapter attached by stock PEFT; changes `llama` in place."""
    rank = next(iter(adapters.a.values())).shape[1]
    targets = sorted({name.split(".")[-1] for name in adapters.a})
    config = LoraConfig(r=rank, lora_alpha=scaling * rank, target_modules=targets)
    with warnings.catch_warnings():  # PEFT asks transformers for an attribute it has renamed
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(llama, config)
    with torch.no_grad():
        for module, factor, parameter in peft_parameters(model):
            parameter.copy_(getattr(adapters, factor)[module][device])
    return model


def peft_train(
    model: torch.nn.Module,
    rule: TrainingRule,
    batches: tuple[Tensor, Tensor],
    trained: frozenset[str] = frozenset(("a", "b")),
    masks: dict[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Train one device with a torch optimizer: returns A, B and the loss of every step.

    Args:
        model: Result of `peft_model`.
        rule: As for the fleet; warm-up by a LambdaLR.
        batches: Tokens and targets of this device, (steps b t).
        trained: Factors that move.
        masks: Entries of B that exist, for this device.
    """
    model.train()
    named = list(peft_parameters(model))
    for _, factor, parameter in named:
        parameter.requires_grad_(factor in trained)
    moving = [parameter for _, factor, parameter in named if factor in trained]
    optimizer: torch.optim.Optimizer
    if rule.optimizer == "adamw":
        optimizer = torch.optim.AdamW(moving, rule.learning_rate, weight_decay=rule.weight_decay)
    else:
        optimizer = torch.optim.SGD(moving, rule.learning_rate)
    warmup = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / max(1, rule.warmup_steps))
    )
    losses = []
    for tokens, targets in zip(*batches, strict=True):
        logits = model(input_ids=tokens).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        for module, factor, parameter in named:
            if masks is not None and factor == "b" and parameter.grad is not None:
                parameter.grad *= masks[module]
        if rule.clip_norm:
            torch.nn.utils.clip_grad_norm_(moving, rule.clip_norm)
        optimizer.step()
        warmup.step()
        losses.append(loss.detach())
    a = {module: p.detach().clone() for module, factor, p in named if factor == "a"}
    b = {module: p.detach().clone() for module, factor, p in named if factor == "b"}
    return a, b, torch.stack(losses)


def hook_inputs(llama: LlamaForCausalLM, tokens: Tensor) -> dict[str, Tensor]:
    """The input of every linear module, (m t d_in), as forward hooks see it."""
    seen: dict[str, Tensor] = {}

    def remember(name: str) -> Callable[[object, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: object, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
            seen[name] = inputs[0]

        return hook

    handles = [
        module.register_forward_hook(remember(name.replace("self_attn.", "").replace("mlp.", "")))
        for name, module in llama.model.named_modules()
        if name.endswith("_proj")
    ]
    with torch.no_grad():
        llama(tokens)
    for handle in handles:
        handle.remove()
    return seen
