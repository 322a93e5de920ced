"""Config of local training."""

from typing import Literal

from meshtune.engine.methods.kind import MethodPart


class Local(MethodPart):
    """No exchange: every device trains alone."""

    kind: Literal["local"] = "local"
