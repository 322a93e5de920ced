"""One LoRA trained on everybody's samples in one place: a bound without any radio.

Not in the paper: it separates what the exchange costs from what one adapter cannot hold.
"""

from dataclasses import dataclass

from meshtune.engine.methods.rules import PlainMethod


@dataclass(frozen=True)
class CentralisedRules(PlainMethod):
    """Each step takes the batches of all devices at once; every device answers with the result.

    Sends nothing: moving the samples to one place is not counted.
    """

    pooled: bool = True
