"""Methods: one file per paper, chosen by config."""

from typing import assert_never

from meshtune.engine import config
from meshtune.engine.methods.base import Bank, Gate, Memory, Method, Setup, Signatures
from meshtune.engine.methods.centralised import CentralisedLora
from meshtune.engine.methods.choco_gossip import ChocoGossip
from meshtune.engine.methods.decaf_gossip import DecafGossip
from meshtune.engine.methods.ffa_gossip import FfaGossip
from meshtune.engine.methods.full_gossip import FullGossip
from meshtune.engine.methods.local import LocalMethod
from meshtune.engine.methods.lora_gossip import LoraGossip
from meshtune.engine.methods.lori import LoriMethod
from meshtune.engine.methods.oracle_experts import OracleExperts
from meshtune.engine.methods.so_lora import SoLoraMethod

__all__ = ["Bank", "Gate", "Memory", "Method", "Setup", "Signatures", "build_method"]


def build_method(chosen: config.Method, setup: Setup) -> Method:  # noqa: C901 - a case per method
    """The rules that `chosen` names, for this fleet."""
    match chosen:
        case config.Local():
            return LocalMethod(setup)
        case config.LoraGossip():
            return LoraGossip(setup)
        case config.FfaGossip():
            return FfaGossip(setup)
        case config.DecafGossip():
            return DecafGossip(setup)
        case config.ChocoGossip():
            return ChocoGossip(setup, rule=chosen)
        case config.Lori():
            return LoriMethod(setup, chosen)
        case config.FullGossip():
            return FullGossip(setup)
        case config.OracleExperts():
            return OracleExperts(setup)
        case config.Centralised():
            return CentralisedLora(setup)
        case config.SoLora():
            return SoLoraMethod(setup, chosen)
        case _:
            assert_never(chosen)
