"""An adapter from outside, to be asked beside those of a run."""

from meshtune.engine.adapters.given import given_adapter
from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.config import RunConfig
from meshtune.engine.peft_start import require_start


def outside_adapter(config: RunConfig, name: str) -> Adapters:
    """The adapter in a PEFT folder, as that of one device of a run.

    Raises:
        AssetMissing: there is none of that name.
        ConfigMismatch: it does not fit the model, or has another rank or alpha than the run.
    """
    adapter = config.adapter.model_copy(update={"start_from": name})
    return given_adapter(*require_start(config.model_copy(update={"adapter": adapter})))
