"""A stock model as a backbone: its linear layers opened, its head asked for scored tokens only."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from meshtune.engine.adapters.stack import Adapters, Factor, Factors, Shapes
from meshtune.engine.backbone.base import IGNORED_TARGET, Gates, TopRanks
from meshtune.engine.backbone.generic.linear import OpenHead, OpenLinear, Pass, Project
from meshtune.engine.backbone.generic.passes import Adapted, Gated, Heard, mean_over
from meshtune.engine.errors import ConfigMismatch


@dataclass(frozen=True)
class Generic:
    """A stock model with opened layers, and all that a `Backbone` does with it.

    `layers` are the opened ones by the name that the engine gives them, in network order.
    """

    model: Any
    layers: Mapping[str, OpenLinear]
    running: Pass

    @property
    def shapes(self) -> Shapes:
        return {name: _shape(layer.matrix) for name, layer in self.layers.items()}

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.model.dtype
        return dtype

    def gradient(
        self,
        tokens: Int[Tensor, "n b t"],
        targets: Int[Tensor, "n b t"],
        a: Factors,
        b: Factors,
        scaling: float,
        *,
        trained: frozenset[Factor],
    ) -> tuple[Float[Tensor, " n"], dict[Factor, Factors]]:
        leaves = {"a": _leaves(a, "a" in trained), "b": _leaves(b, "b" in trained)}
        with torch.enable_grad():
            loss = self._loss(tokens, targets, leaves["a"], leaves["b"], scaling)
            moving = [value for kind in sorted(trained) for value in leaves[kind].values()]
            slopes = iter(torch.autograd.grad(loss.sum(), moving))
        return loss.detach(), {
            kind: {name: next(slopes) for name in leaves[kind]} for kind in sorted(trained)
        }

    def logits(
        self,
        tokens: Int[Tensor, "n b t"],
        adapters: Adapters | None,
        scaling: float,
        places: Int[Tensor, "n b s"] | None = None,
    ) -> Float[Tensor, "n b s vocab"]:
        n, b, t = tokens.shape
        rows = None if places is None else _rows(places.flatten(0, 1), t).view(n, -1)
        project = None
        if adapters is not None:
            project = Adapted(adapters.a, adapters.b, scaling, _few(rows, b * t))
        with torch.no_grad():
            given = self._run(tokens.flatten(0, 1), project, rows)
        return given.view(n, b, -1, given.shape[-1])

    def blended(
        self,
        tokens: Int[Tensor, "m t"],
        experts: Adapters,
        gates: Gates,
        scaling: float,
        *,
        top_ranks: TopRanks | None = None,
        places: Int[Tensor, "m s"] | None = None,
    ) -> Float[Tensor, "m s vocab"]:
        if experts.a.keys() != experts.b.keys():
            raise ConfigMismatch("experts that update weights in full cannot be blended; pick one")
        project = Gated(experts, gates, scaling, top_ranks, len(tokens))
        with torch.no_grad():
            given = self._run(
                tokens, project, None if places is None else _rows(places, tokens.shape[1])
            )
        return given.view(len(tokens), -1, given.shape[-1])

    def prompt_inputs(
        self, tokens: Int[Tensor, "m t"], prompt_mask: Bool[Tensor, "m t"]
    ) -> dict[str, Float[Tensor, "m d_in"]]:
        share = prompt_mask / prompt_mask.sum(dim=1, keepdim=True).clamp(min=1)
        return self._heard(tokens, Heard(len(tokens), mean_over(share)))

    def layer_inputs(self, tokens: Int[Tensor, "m t"]) -> dict[str, Float[Tensor, "m t d_in"]]:
        return self._heard(tokens, Heard(len(tokens), lambda x: x))

    def frozen_weights(self) -> Iterator[tuple[str, Float[Tensor, "d_out d_in"]]]:
        return ((name, layer.matrix.detach().float()) for name, layer in self.layers.items())

    def _run(
        self, tokens: Int[Tensor, "m t"], project: Project | None, rows: Int[Tensor, "_ s"] | None
    ) -> Float[Tensor, "... vocab"]:
        with self.running.of(project, None if rows is None else rows.flatten()):
            logits: Tensor = self.model(input_ids=tokens, use_cache=False).logits
        return logits.float()

    def _loss(
        self,
        tokens: Int[Tensor, "n b t"],
        targets: Int[Tensor, "n b t"],
        a: Factors,
        b: Factors,
        scaling: float,
    ) -> Float[Tensor, " n"]:
        """Return each device's mean cross-entropy over its scored tokens."""
        due = targets.flatten(1)
        n, m = due.shape
        scored = due != IGNORED_TARGET
        most = max(1, int(scored.sum(dim=1).max()))
        columns = scored.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
        rows = columns + m * torch.arange(n, device=due.device)[:, None]
        project = Adapted(a, b, scaling, _few(rows, m))
        logits = self._run(tokens.flatten(0, 1), project, rows)[0]
        told = functional.cross_entropy(logits, due.gather(1, columns).flatten(), reduction="none")
        return told.view(n, most).sum(dim=1) / scored.sum(dim=1).clamp(min=1)

    def _heard(self, tokens: Int[Tensor, "m t"], heard: Heard) -> dict[str, Tensor]:
        nothing = tokens.new_zeros(1, 1)  # of the head, which takes as long as some layers
        with torch.no_grad():
            self._run(tokens, heard, nothing)
        return {name: heard.notes[name] for name in self.layers}


def opened(model: Any, targets: Collection[str] | None = None) -> Generic:
    """Return a stock causal model, which is changed in place, as a backbone.

    Args:
        model: In evaluation mode; its dtype is the precision of the matrix products.
        targets: Names of linear layers, or ends of their paths, as in PEFT; None opens all but the
            head, as "all-linear" of PEFT does.

    Raises:
        ConfigMismatch: No layer has such a name.
    """
    running = Pass()
    model.requires_grad_(False)
    head = model.get_output_embeddings()
    head_path = next(path for path, module in model.named_modules() if module is head)
    layers = {}
    for name, path in target_paths(model, targets).items():
        layers[name] = OpenLinear(name, model.get_submodule(path), running)
        model.set_submodule(path, layers[name])
    model.set_submodule(head_path, OpenHead(head, running))
    return Generic(model, layers, running)


def target_paths(model: Any, targets: Collection[str] | None = None) -> dict[str, str]:
    """Return the paths of the target layers in a stock model by name, in network order.

    It reads no weights: a model on the meta device will do. Layer 3's `self_attn.q_proj` is called
    "layers.3.q_proj" in whatever list the model keeps its layers, and "layers.3.attn.c_proj" where
    another part of the layer has a `c_proj` as well; outside the list the path is the name.

    Raises:
        ConfigMismatch: No layer has such a name.
    """
    head = model.get_output_embeddings()
    paths = [
        path
        for path, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head
    ]
    if targets is not None:
        paths = [p for p in paths if any(f".{p}".endswith(f".{wanted}") for wanted in targets)]
    if not paths:
        names = "" if targets is None else f" named {', '.join(sorted(targets))}"
        raise ConfigMismatch(
            f"the model family {model.config.model_type!r} has no linear layer{names}; see "
            "model.targets"
        )
    return _named(paths)


def shapes_of(model: Any) -> dict[str, tuple[int, int]]:
    """Return (d_out, d_in) of every target layer of a stock model by name, in network order.

    It reads no weights: a model on the meta device will do.
    """
    layers = {name: model.get_submodule(path) for name, path in target_paths(model).items()}
    return {
        name: _shape(layer.weight.T if isinstance(layer, Conv1D) else layer.weight)
        for name, layer in layers.items()
    }


LISTED = re.compile(r"^(?:\D*\.)?(\d+)\.(.+)$")  # a path in the model's list of layers


def _named(paths: Collection[str]) -> dict[str, str]:
    inside = {path: found.groups() for path in paths if (found := LISTED.match(path))}
    parts = {part for _, part in inside.values()}
    names = {}
    for path in paths:
        name = path
        if path in inside:
            index, part = inside[path]
            leaf = part.rpartition(".")[2]
            alone = sum(each.rpartition(".")[2] == leaf for each in parts) == 1
            name = f"layers.{index}.{leaf if alone and not leaf.isdigit() else part}"
        names[path if name in names else name] = path
    return names


def _rows(places: Int[Tensor, "m s"], t: int) -> Int[Tensor, "m s"]:
    """Return places in sequences of t tokens as places in all of them."""
    return places + t * torch.arange(len(places), device=places.device)[:, None]


def _few(rows: Int[Tensor, "n s"] | None, m: int) -> Int[Tensor, "n s"] | None:
    """Return the rows if they are so few of a device's m that leaving out the others pays."""
    return rows if rows is not None and 2 * rows.shape[1] <= m else None


def _leaves(factors: Factors, moving: bool) -> Factors:
    # Not detach(): other threads write to other rows of the same buffer, which autograd would
    # take for a change of these.
    return {name: value.data.requires_grad_(moving) for name, value in factors.items()}


def _shape(matrix: Float[Tensor, "d_out d_in"]) -> tuple[int, int]:
    d_out, d_in = matrix.shape
    return d_out, d_in
