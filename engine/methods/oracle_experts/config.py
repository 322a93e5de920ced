"""Config of hard-routing experts."""

from typing import Literal

from meshtune.engine.methods.kind import MethodPart


class OracleExperts(MethodPart):
    """Hard-routing experts: full fine-tuning per device, copied to all, picked by the true task."""

    kind: Literal["oracle_experts"] = "oracle_experts"
