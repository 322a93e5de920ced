"""What a method tells before anything is trained: the light half of its contract.

The heavy half, the hooks that compute, is in `meshtune.engine.methods.rules`. Nothing here has a
default: a fact that a method does not state is an error where the method is registered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from meshtune.engine.fields import KindPart
from meshtune.engine.registry import Kind, load

Dash = Literal["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]


class MethodPart(KindPart):
    """Base of the config of a method."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How screens name and draw a method.

    Attributes:
        title: Its name.
        short: Its name where there is little room.
        color: In light and dark mode, "#RRGGBB" each; None for one that is given to it.
        dash: Of its curves.
    """

    title: str
    short: str
    color: tuple[str, str] | None
    dash: Dash


@dataclass(frozen=True, kw_only=True)
class MethodKind(Kind):
    """A method: its config, its costs, its rules, and where it fits.

    Attributes:
        config: Its branch of the config tree.
        costs: "module:function" from its config and `Terms` to `Costs`; loads no torch.
        rules: "module:class" of its hooks, a `Method` made from (setup, config); loads torch.
        look: How screens show it.
        averaging: "none": devices never average. "links": over links that work both ways.
            "directed": over links that work one way as well, and by push-sum. "copies": through
            copies of each neighbour that are kept from the start, so that links must stay and
            weights be symmetric.
        needs_mesh: Whether devices need links at all.
        whole: Whether whole matrices are trained, for which rank and alpha mean nothing.
        names_places: Whether messages say which entries they hold.
        free_start: Whether A and B are free before the first round, so that all devices may start
            from an adapter that is given: `common_start` is its start.
        deals_by_cluster: Whether a config deals out entries by cluster beforehand.
    """

    config: type[MethodPart]
    costs: str
    rules: str
    look: Look
    averaging: Literal["none", "links", "directed", "copies"]
    needs_mesh: bool
    whole: bool
    names_places: bool
    free_start: bool
    deals_by_cluster: Callable[[Any], bool]

    def default(self) -> MethodPart:
        """Its config with the defaults of every field."""
        return self.config.model_validate({})

    def load_costs(self) -> Any:
        """The function that says what it costs."""
        return load(self.costs)

    def load_rules(self) -> Any:
        """The class of its hooks."""
        return load(self.rules)


def never(_: Any) -> bool:
    """No."""
    return False
