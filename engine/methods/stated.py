"""Whether a method from outside states all that is asked of it."""

import numpy as np

from meshtune.engine.ledger import Accounts
from meshtune.engine.methods.kind import MethodKind, MethodPart
from meshtune.engine.methods.terms import Costs, Terms
from meshtune.engine.registry import require_named
from meshtune.engine.weights import MixingRule

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


def require_stated(kind: MethodKind) -> None:
    """Whether a method states all that is asked of it.

    Raises:
        TypeError: a fact is missing or of another kind.
        ValueError: its config has no name.
    """
    if not issubclass(kind.config, MethodPart):
        raise TypeError(f"{kind.config.__name__} is no MethodPart")
    require_named(kind)
    told = kind.load_costs()(kind.default(), SAMPLE)
    if not isinstance(told, Costs):
        raise TypeError(f"its costs are a {type(told).__name__}, not Costs")
    if not isinstance(told.accounts, Accounts):
        raise TypeError("its accounts lack a part of meshtune.engine.ledger.Accounts")
