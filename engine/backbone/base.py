"""The frozen language model as its callers know it, whichever way it is computed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters, Factor, Factors, Shapes

IGNORED_TARGET = -100
# Weights of k experts by module, from the input of the named modules, which they share. Rows are
# tokens of m sequences: tokens count slowest, then sequences.
TokenGate = Callable[[tuple[str, ...], Float[Tensor, "s d_in"]], dict[str, Float[Tensor, "s k"]]]
Gates = Float[Tensor, "m k"] | dict[str, Float[Tensor, "m k"]] | TokenGate


@dataclass(frozen=True)
class TopRanks:
    """How many coordinates of z = concat_k g_k A_k x are kept, in all or within each expert."""

    count: int
    over: Literal["all", "expert"] = "all"


@runtime_checkable
class Backbone(Protocol):
    """A frozen causal language model that n devices share, each with an adapter of its own.

    Attention is causal and positions count from 0, so padding belongs on the right. Logits and
    losses are float32, whatever the matrix products are.
    """

    @property
    def shapes(self) -> Shapes:
        """(d_out, d_in) of every module that can carry an adapter, in network order."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the matrix products."""
        ...

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
        """Return each device's mean loss over its scored tokens, and its slope.

        Args:
            tokens: Token ids; row i is read by device i only.
            targets: Next token of every position, or -100 where none is scored. A device without
                any scored token has loss 0.
            a: Factor A of the adapted modules; a module that lacks one is updated in full by B.
            b: Factor B of the adapted modules.
            scaling: Factor of B A.
            trained: Factors whose gradients are wanted, in the order of `a` and `b`.
        """
        ...

    def logits(
        self,
        tokens: Int[Tensor, "n b t"],
        adapters: Adapters | None,
        scaling: float,
        places: Int[Tensor, "n b s"] | None = None,
    ) -> Float[Tensor, "n b s vocab"]:
        """Return the logits of every device's own sequences under its own adapter.

        Args:
            tokens: Token ids; row i is read by device i only.
            adapters: A and B of the same modules for n devices, or None for the frozen model.
            scaling: Factor of B A, alpha / r in LoRA.
            places: The s tokens of each sequence whose logits are wanted, all (s = t) if None.
        """
        ...

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
        """Return the logits under a gated sum of experts.

            y = W0 x + scaling sum_k B_k top(g_k A_k x)

        Args:
            tokens: Token ids of m sequences.
            experts: Low-rank adapters whose leading axis counts the k experts.
            gates: Weight of every expert for every sequence, one table for the whole network or
                one per module; or a function that weighs anew for every token, from the input that
                modules read in the model as published.
            scaling: Factor of B A.
            top_ranks: Keeps the largest absolute values of z = g A x of a token and module and
                sets the others to zero (arXiv 2602.20492, Eq. 29); all are kept if None.
            places: The s tokens of each sequence whose logits are wanted, all (s = t) if None.

        Raises:
            ConfigMismatch: An expert updates weights in full, so it has no A x to gate.
        """
        ...

    def prompt_inputs(
        self, tokens: Int[Tensor, "m t"], prompt_mask: Bool[Tensor, "m t"]
    ) -> dict[str, Float[Tensor, "m d_in"]]:
        """Return the frozen model's mean input of every module over each sequence's prompt tokens.

        Modules that share an input share the tensor. A sequence without prompt tokens gives zeros.
        """
        ...

    def layer_inputs(self, tokens: Int[Tensor, "m t"]) -> dict[str, Float[Tensor, "m t d_in"]]:
        """Return the frozen model's input of every module for every token, in float32.

        These are the inputs x of y = W0 x in the model as published. Modules that share an input
        share the tensor. All layers are held at once: ask for few sequences.
        """
        ...

    def frozen_weights(self) -> Iterator[tuple[str, Float[Tensor, "d_out d_in"]]]:
        """Yield each module's weight as published, in float32."""
        ...
