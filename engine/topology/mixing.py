"""Over which links a round averages, and what to say if it is none."""

import numpy as np
from jaxtyping import Bool, Int64

from meshtune.engine import config as c
from meshtune.engine.costs import method_costs
from meshtune.engine.methods.registry import METHODS, REFERENCE


def averaged_links(
    config: c.RunConfig,
    linked: Bool[np.ndarray, "n n"],
    heard: Bool[np.ndarray, "n n"],
    cluster: Int64[np.ndarray, " n"],
) -> Bool[np.ndarray, "n n"] | None:
    """Links over which devices average in a round; None if nobody could, whatever is heard.

    Row = receiver, column = sender.

    Args:
        config: The run, for its method and its mixing rule.
        linked: Links of the round.
        heard: Links over which the message came through.
        cluster: Cluster of every device, which some methods average within.
    """
    costs = method_costs(config)
    partners = costs.partners(linked, cluster)
    return costs.averaged(partners, heard) if partners.any() else None


def unmixed_sentence(config: c.RunConfig, heard_any: bool) -> str:
    """Why messages that were paid for change nobody, and what to do."""
    if not heard_any:
        return (
            "messages are paid for and none is heard, so nothing is averaged; raise "
            "channel.tx_power_dbm or channel.deadline_s, or bring the devices closer"
        )
    method = METHODS[config.method.kind]
    if method.averaging == "copies":
        return (
            f"messages are paid for and nothing is averaged: {method.name} takes a change only "
            "once all neighbours heard it; make links work both ways, or choose "
            f"{REFERENCE} with mixing.rule push_sum"
        )
    wanted = "uniform or push_sum" if method.averaging == "directed" else "uniform"
    return (
        f"messages are paid for and nothing is averaged: {config.mixing.rule} counts links that "
        f"were heard both ways, and here each is heard one way only; set mixing.rule to {wanted}"
    )
