"""Local training: no exchange. The bound that any federation has to beat."""

from dataclasses import dataclass

from meshtune.engine.methods.rules import PlainMethod


@dataclass(frozen=True)
class LocalRules(PlainMethod):
    """Every device trains its own dense LoRA and sends nothing."""
