"""What the method of a config tells before it runs: its costs in the terms of the run."""

from functools import lru_cache

import numpy as np

from meshtune.engine import config as c
from meshtune.engine.kinds import TOPOLOGIES
from meshtune.engine.methods.registry import METHODS
from meshtune.engine.methods.terms import Costs, Terms
from meshtune.engine.models.door import facts_of
from meshtune.engine.models.facts import Facts
from meshtune.engine.models.measured import Measured
from meshtune.engine.shares import samples_per_device
from meshtune.engine.weights import MixingRule


def method_costs(config: c.RunConfig) -> Costs:
    """Costs of the method of a run, before its first round."""
    return _method_costs(config, facts_of(config.model))


@lru_cache(maxsize=64)  # asked for in every round of a plan
def _method_costs(config: c.RunConfig, _model: Facts | Measured) -> Costs:
    costs: Costs = METHODS[config.method.kind].load_costs()(config.method, terms(config))
    return costs


def terms(config: c.RunConfig) -> Terms:
    """What the costs of a method depend on in this run."""
    fleet, adapter = config.fleet, config.adapter
    return Terms(
        rounds=config.rounds,
        own=np.array(fleet.held_tasks()),
        shapes=facts_of(config.model).shapes,
        rank=adapter.rank,
        value_bits=adapter.value_bits,
        places=adapter.places,
        mixing=mixing_rule(config),
        samples=fleet.train_samples,
        clustered=TOPOLOGIES[config.topology.kind].groups,
        fixed=isinstance(config.mobility, c.Static),
    )


def mixing_rule(config: c.RunConfig) -> MixingRule:
    """The rule that `config` names, with the samples of its devices."""
    samples = samples_per_device(config.fleet, config.seed)
    return MixingRule(config.mixing.rule, config.mixing.lazy, samples)
