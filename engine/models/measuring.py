"""`python -m meshtune.engine.models.measuring FOLDER`: the sizes of a model as a line of JSON."""

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging

from meshtune.engine.backbone.generic.fit import refuse_kind
from meshtune.engine.backbone.generic.model import shapes_of, target_paths
from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.models.measured import Answer, Measured


def answer(folder: Path) -> Answer:
    """The sizes of the model in a folder, or why it cannot be used; no weight is read."""
    try:
        return Answer(measured=_measured(folder))
    except ConfigMismatch as error:
        return Answer(refused=str(error))
    except Exception as error:  # what a stranger's config.json raises is no narrower
        text = str(error).strip() or type(error).__name__
        first = text.splitlines()[0][:300]
        return Answer(refused=f"transformers cannot build the model ({first})")


def _measured(folder: Path) -> Measured:
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    refuse_kind(model)
    shapes, paths = shapes_of(model), target_paths(model)
    repeated = {name.split(".")[1] for name in shapes if name.startswith("layers.")}
    rows, width = model.get_output_embeddings().weight.shape
    return Measured(
        family=config.model_type,
        width=width,
        layers=max(1, len(repeated)),
        heads=getattr(config, "num_attention_heads", None) or 1,
        vocabulary=rows,
        context=getattr(config, "max_position_embeddings", None) or 2048,
        parameters=model.num_parameters(),
        transposed=all(isinstance(model.get_submodule(path), Conv1D) for path in paths.values()),
        linears=tuple((name, paths[name], *shape) for name, shape in shapes.items()),
    )


if __name__ == "__main__":
    logging.set_verbosity_error()
    sys.stdout.write(f"\n{answer(Path(sys.argv[1])).model_dump_json()}\n")
