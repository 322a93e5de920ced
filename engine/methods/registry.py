"""Methods by name: those that ship with the package, and those of entry points.

A package adds a method with an entry point of the group `meshtune.methods` that names its
`MethodKind` (CONTRIBUTING.md).
"""

from typing import Literal, get_args, get_origin

import numpy as np

from meshtune.engine.ledger import Accounts
from meshtune.engine.methods.kind import Costs, MethodKind, MethodPart, Terms
from meshtune.engine.registry import Registry
from meshtune.engine.weights import MixingRule

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
DEFAULT = "so_lora"
REFERENCE = "lora_gossip"  # what others are compared with
SAMPLE = Terms(
    rounds=4,
    own=np.array([0, 1]),
    shapes={"layers.0.q_proj": (6, 8), "layers.0.down_proj": (4, 8)},
    rank=2,
    value_bits=16,
    places="least",
    mixing=MixingRule(),
    samples=8,
    clustered=False,
    fixed=True,
)


def stated(kind: MethodKind) -> None:
    """Whether a method states all that is asked of it.

    Raises:
        TypeError: a fact is missing or of another kind.
        ValueError: its config has no name.
    """
    if not issubclass(kind.config, MethodPart):
        raise TypeError(f"{kind.config.__name__} is no MethodPart")
    field = kind.config.model_fields["kind"]
    if get_origin(field.annotation) is not Literal or get_args(field.annotation) != (kind.name,):
        raise ValueError(f"{kind.config.__name__}.kind must be a Literal with its name as default")
    told = kind.costs(kind.default(), SAMPLE)
    if not isinstance(told, Costs):
        raise TypeError(f"its costs are a {type(told).__name__}, not Costs")
    if not isinstance(told.accounts, Accounts):
        raise TypeError("its accounts lack a part of meshtune.engine.ledger.Accounts")


METHODS: Registry[MethodKind] = Registry(
    GROUP,
    [f"{__package__}.{name}:METHOD" for name in BUILT_IN],
    row=MethodKind,
    name=lambda kind: kind.name,
    check=stated,
)
