"""Plain LoRA on a graph: the reference."""

from meshtune.engine.methods.kind import Look, MethodKind, never
from meshtune.engine.methods.lora_gossip.config import LoraGossip

METHOD = MethodKind(
    config=LoraGossip,
    costs="meshtune.engine.methods.lora_gossip.costs:costs",
    rules="meshtune.engine.methods.lora_gossip.rules:LoraGossipRules",
    look=Look(
        title="Plain LoRA gossip", short="Plain LoRA", color=("#5B6270", "#9AA3B2"), dash="solid"
    ),
    averaging="directed",
    needs_mesh=True,
    whole=False,
    names_places=False,
    free_start=True,
    deals_by_cluster=never,
)
