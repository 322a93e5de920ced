"""Local training: no exchange. The bound that any federation has to beat."""

from dataclasses import dataclass

import numpy as np

from engine.adapters import Adapters, Factor, Masks
from engine.fleet import BOTH_FACTORS
from engine.methods.base import Bank, Bits, Heard, Memory, Setup, common_start, single_bank


@dataclass(frozen=True)
class LocalMethod:
    """Every device trains its own dense LoRA and sends nothing."""

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
        return np.zeros_like(self.setup.linked, dtype=np.int64)

    def combine(
        self, trained: Adapters, memory: Memory, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        return trained, memory

    def bank(self, adapters: Adapters, memory: Memory) -> Bank:
        return single_bank(adapters)

    def diagnostics(self, memory: Memory) -> dict[str, float]:
        return {}
