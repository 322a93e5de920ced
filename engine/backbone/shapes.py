"""Shapes of the embedded model's linear layers, read without loading the model."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from meshtune.engine.errors import AssetMissing


def embedded_shapes() -> dict[str, tuple[int, int]]:
    """(d_out, d_in) of every linear layer that carries an adapter, in network order.

    Names and order are those of `backbone_from_llama`. Read from the model's config.json, so that
    the plan of a run knows message sizes in a process that must not load torch.

    Raises:
        AssetMissing: the package was installed without its model.
    """
    model = _config()
    width, inner = model["hidden_size"], model["intermediate_size"]
    queries = model["num_attention_heads"] * model["head_dim"]
    keys = model["num_key_value_heads"] * model["head_dim"]
    block = {
        "q_proj": (queries, width),
        "k_proj": (keys, width),
        "v_proj": (keys, width),
        "o_proj": (width, queries),
        "gate_proj": (inner, width),
        "up_proj": (inner, width),
        "down_proj": (width, inner),
    }
    return {
        f"layers.{index}.{name}": shape
        for index in range(model["num_hidden_layers"])
        for name, shape in block.items()
    }


@cache  # a plan asks for every round
def _config() -> dict[str, Any]:
    path = Path(__file__).parent / "weights" / "config.json"
    if not path.is_file():
        raise AssetMissing(
            "the embedded model has no config.json; reinstall the package, or make the model with "
            "python -m meshtune.engine.backbone.pretrain"
        )
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
