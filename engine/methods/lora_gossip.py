"""Plain LoRA on a graph: both factors are averaged with the neighbours that were heard.

Source: Dec-LoRA, "Decentralized low-rank fine-tuning of large language models" (arXiv 2501.15361);
it is the baseline "LoRA with random topology" of arXiv 2602.20492, Table I.
We deviate in one point: a link counts only in rounds in which both directions worked, so that the
mixing matrix stays doubly stochastic under loss.
"""

from dataclasses import dataclass

import numpy as np
import torch

from engine.adapters import Adapters, Factor, Masks, mix
from engine.fleet import BOTH_FACTORS
from engine.methods.base import (
    Bank,
    Bits,
    Heard,
    Memory,
    Setup,
    common_start,
    on_air,
    single_bank,
)
from engine.topology import metropolis_weights


@dataclass(frozen=True)
class LoraGossip:
    """A <- sum_j w_ij A_j and B <- sum_j w_ij B_j with Metropolis-Hastings weights (model.md M6).

    Sends q (nA + nB) bits per link and round.
    """

    setup: Setup
    trained: frozenset[Factor] = BOTH_FACTORS
    warm_up_steps: int = 0

    def start(self) -> tuple[Adapters, Memory]:
        return common_start(self.setup), {}

    def after_warm_up(self, warmed: Adapters, memory: Memory) -> Memory:
        return memory

    def masks(self, memory: Memory) -> Masks | None:
        return None

    def payload_bits(self, memory: Memory, round_index: int) -> Bits:
        values = sum(self.setup.rank * (d_out + d_in) for d_out, d_in in self.setup.shapes.values())
        return self.setup.linked.astype(np.int64) * (values * self.setup.value_bits)

    def combine(
        self, trained: Adapters, memory: Memory, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        weights = torch.from_numpy(metropolis_weights(heard)).float()
        own = torch.diag(torch.diagonal(weights))
        received = mix(on_air(trained, self.setup.value_bits), weights - own)
        kept = mix(trained, own)
        return Adapters(
            {name: kept.a[name] + value for name, value in received.a.items()},
            {name: kept.b[name] + value for name, value in received.b.items()},
        ), memory

    def bank(self, adapters: Adapters, memory: Memory) -> Bank:
        return single_bank(adapters)

    def diagnostics(self, memory: Memory) -> dict[str, float]:
        return {}
