"""Config of one LoRA trained in one place."""

from typing import Literal

from meshtune.engine.methods.kind import MethodPart


class Centralised(MethodPart):
    """One LoRA trained on the samples of all devices in one place: a bound without any radio."""

    kind: Literal["centralised"] = "centralised"
