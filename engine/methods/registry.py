"""Methods by name: those that ship with the package, and those of entry points.

A package adds a method with an entry point of the group `meshtune.methods` that names its
`MethodKind` (CONTRIBUTING.md).
"""

from meshtune.engine.methods.kind import MethodKind
from meshtune.engine.registry import Registry, load

GROUP = "meshtune.methods"
# In the order of forms; the first is the method of a config that names none.
BUILT_IN = (
    "so_lora",
    "lora_gossip",
    "ffa_gossip",
    "decaf_gossip",
    "choco_gossip",
    "lori",
    "full_gossip",
    "oracle_experts",
    "centralised",
    "local",
)
REFERENCE = "lora_gossip"  # what others are compared with
METHODS: Registry[MethodKind] = Registry(
    GROUP,
    [f"{__package__}.{name}:METHOD" for name in BUILT_IN],
    row=MethodKind,
    check=lambda kind: load(f"{__package__}.stated:require_stated")(kind),
)
