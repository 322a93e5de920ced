"""Whether a stock model can have an adapter per device: asked of the model itself, on one batch."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from meshtune.engine.adapters.stack import Adapters, initial_adapters, select
from meshtune.engine.backbone.generic.linear import OpenLinear
from meshtune.engine.backbone.generic.model import Generic, opened
from meshtune.engine.errors import ConfigMismatch

TOLERANCE = 1e-3  # of a logit, in float32
ROUGH = 2.0**-4  # of the largest logit, where matrix products have 8 bits
DEVICES, SEQUENCES, TOKENS, PADDING = 2, 3, 17, 5


def generic_backbone(model: Any, targets: Collection[str] | None = None) -> Generic:
    """Return a stock causal model, which is changed in place, as a backbone that was checked.

    Its logits are those of the stock model on a padded batch, every target layer reads every token
    once, and no device has a part in the logits of another.

    Args:
        model: In evaluation mode; its dtype is the precision of the matrix products.
        targets: As in `opened`.

    Raises:
        ConfigMismatch: The model's family cannot have an adapter per device, or no layer is so
            named.
    """
    refuse_kind(model)
    tokens, mask = padded_batch(model)
    expected = stock_logits(model, tokens, mask)
    backbone = opened(model, targets)
    _refuse_readings(backbone, tokens)
    gap = logit_gap(backbone.logits(tokens[None], None, 1.0)[0], expected, mask)
    if gap > allowed(expected, backbone.dtype):
        raise refusal(model, "without an attention mask its logits change with the padding")
    _refuse_mixing(backbone, tokens)
    _mark_late(backbone, tokens)
    some = torch.arange(0, TOKENS, 3, device=tokens.device).expand(len(tokens), -1)
    part = backbone.logits(tokens[None], _nothing(backbone), 1.0, some[None])[0]
    if logit_gap(part, expected[:, ::3], mask[:, ::3]) > allowed(expected, backbone.dtype):
        raise refusal(model, "its logits depend on how many of them are wanted")
    return backbone


def padded_batch(model: Any) -> tuple[Int[Tensor, "m t"], Bool[Tensor, "m t"]]:
    """Return sequences of two lengths, padded on the right, and which tokens are real."""
    vocab = len(model.get_output_embeddings().weight)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(vocab, (DEVICES * SEQUENCES, TOKENS), generator=generator)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[::2, -PADDING:] = False
    return tokens.to(model.device), mask.to(model.device)


def stock_logits(
    model: Any, tokens: Int[Tensor, "m t"], mask: Bool[Tensor, "m t"]
) -> Float[Tensor, "m t vocab"]:
    """Return what the model says as transformers computes it."""
    with torch.no_grad():
        logits: Tensor = model(input_ids=tokens, attention_mask=mask.long(), use_cache=False).logits
    return logits.float()


def logit_gap(given: Tensor, expected: Tensor, mask: Bool[Tensor, "*tokens"]) -> float:
    """Return the largest difference of a logit over the real tokens; infinite if one is NaN."""
    return float((given - expected)[mask].abs().max().nan_to_num(torch.inf))


def allowed(expected: Tensor, dtype: torch.dtype = torch.float32) -> float:
    """Return the difference that rounding explains."""
    return TOLERANCE if dtype == torch.float32 else ROUGH * float(expected.abs().max())


def refusal(model: Any, why: str) -> ConfigMismatch:
    """Return the sentence that names the family of a model that cannot be used."""
    family = model.config.model_type
    return ConfigMismatch(
        f"the model family {family!r} cannot be trained with an adapter per device: {why}; "
        "choose a plain decoder, such as Llama, Qwen or GPT-2"
    )


def refuse_kind(model: Any) -> None:
    """Refuse what is known to be no plain decoder; weights are not looked at.

    Raises:
        ConfigMismatch: The model's family cannot have an adapter per device.
    """
    if model.config.is_encoder_decoder or model.get_output_embeddings() is None:
        raise refusal(model, "it is no decoder with a head for the next token")
    if getattr(model, "_is_stateful", False):
        raise refusal(model, "it carries a state from token to token")
    for path, module in model.named_modules():
        deep = [name for name, each in module.named_parameters(recurse=False) if each.dim() > 2]
        if deep and isinstance(module, nn.Conv1d):
            raise refusal(model, f"it has a convolution over tokens ({path})")
        if deep:
            what = "its experts are" if "expert" in path else "a weight of it is"
            raise refusal(model, f"{what} one tensor of three axes ({path}.{deep[0]})")


def _refuse_readings(backbone: Generic, tokens: Int[Tensor, "m t"]) -> None:
    """Refuse models in which a target layer does not read every token exactly once, in order."""
    seen: Counter[str] = Counter()
    m, t = tokens.shape

    def count(linear: OpenLinear, x: Tensor) -> Tensor:
        whole = x.shape[:-1] in ((m, t), (m * t,))
        seen[linear.name] += 1 if whole else 2
        return linear.frozen(x)

    with torch.no_grad(), backbone.running.of(count, None):
        backbone.model(input_ids=tokens, use_cache=False)
    odd = next((name for name in backbone.layers if seen[name] != 1), None)
    if odd is not None:
        raise refusal(backbone.model, f"its layer {odd} does not read every token once")


def _refuse_mixing(backbone: Generic, tokens: Int[Tensor, "m t"]) -> None:
    """Refuse models that compute a device's logits from another one's sequences or adapter."""
    own = tokens.unflatten(0, (DEVICES, SEQUENCES))
    adapters = _drawn_adapters(backbone)
    together = backbone.logits(own, adapters, 1.0)
    for device in range(DEVICES):
        one = slice(device, device + 1)
        alone = backbone.logits(own[one], select(adapters, [device]), 1.0)
        gap = logit_gap(together[one], alone, torch.ones_like(own[one], dtype=torch.bool))
        if gap > allowed(alone, backbone.dtype):
            raise refusal(backbone.model, "its sequences have a part in each other's logits")


def _mark_late(backbone: Generic, tokens: Int[Tensor, "m t"]) -> None:
    """Find the layers whose output for a token matters to the logits of that token alone."""
    outputs: dict[str, Tensor] = {}
    wanted = TOKENS // 2  # a token of the first sequence, with others before and after it

    def follow(linear: OpenLinear, x: Tensor) -> Tensor:
        # A layer whose input nobody follows yet starts the following.
        y = linear.frozen(x)
        outputs[linear.name] = y if y.requires_grad else y.requires_grad_()
        return outputs[linear.name].clone()  # which the model may overwrite

    with torch.enable_grad(), backbone.running.of(follow, tokens.new_tensor([wanted])):
        logits = backbone.model(input_ids=tokens, use_cache=False).logits
        slopes = torch.autograd.grad(logits.square().sum(), [*outputs.values()])
    for name, slope in zip(outputs, slopes, strict=True):
        felt = slope.flatten(0, -2).abs().sum(dim=1).nonzero().flatten().tolist()
        backbone.layers[name].late = felt == [wanted]


def _nothing(backbone: Generic) -> Adapters:
    """Return one device's adapter that changes nothing."""
    drawn = select(_drawn_adapters(backbone), [0])
    return Adapters(drawn.a, {name: torch.zeros_like(b) for name, b in drawn.b.items()})


def _drawn_adapters(backbone: Generic) -> Adapters:
    """Return adapters whose B is not zero, so that a wrong one would show."""
    generator = torch.Generator().manual_seed(1)
    fresh = initial_adapters(backbone.shapes, DEVICES, 1, generator)
    b = {name: torch.randn(value.shape, generator=generator) for name, value in fresh.b.items()}

    def placed(factors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(backbone.model.device) for name, value in factors.items()}

    return Adapters(placed(fresh.a), placed(b))
