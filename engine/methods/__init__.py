"""Methods: one file per paper, chosen by config."""

from typing import assert_never

from meshtune.engine import config
from meshtune.engine.methods.centralised.rules import CentralisedLora
from meshtune.engine.methods.choco_gossip.rules import ChocoGossip
from meshtune.engine.methods.decaf_gossip.rules import DecafGossip
from meshtune.engine.methods.ffa_gossip.rules import FfaGossip
from meshtune.engine.methods.full_gossip.rules import FullGossip
from meshtune.engine.methods.local.rules import LocalMethod
from meshtune.engine.methods.lora_gossip.rules import LoraGossip
from meshtune.engine.methods.lori.rules import LoriMethod
from meshtune.engine.methods.oracle_experts.rules import OracleExperts
from meshtune.engine.methods.rules import Bank, Gate, Memory, Method, Setup, Signatures
from meshtune.engine.methods.so_lora.rules import SoLoraMethod

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
