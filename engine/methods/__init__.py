"""Methods: one file per paper, chosen by config."""

from typing import assert_never

from engine import config
from engine.methods.base import Bank, Gate, Memory, Method, Setup
from engine.methods.local import LocalMethod
from engine.methods.lora_gossip import LoraGossip
from engine.methods.so_lora import SoLoraMethod

__all__ = ["Bank", "Gate", "Memory", "Method", "Setup", "build_method"]


def build_method(chosen: config.Method, setup: Setup) -> Method:
    """The rules that `chosen` names, for this fleet."""
    match chosen:
        case config.Local():
            return LocalMethod(setup)
        case config.LoraGossip():
            return LoraGossip(setup)
        case config.SoLora():
            return SoLoraMethod(
                setup,
                density=chosen.density,
                warm_up_steps=chosen.mask_warmup_steps,
                library_every=chosen.library_every,
                gate=chosen.gate,
            )
        case _:
            assert_never(chosen)
