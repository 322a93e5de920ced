"""An adapter that was trained elsewhere, from a file of PEFT."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file

from meshtune.engine.adapters.stack import Adapters


def given_adapter(file: Path, names: Mapping[str, tuple[str, str]]) -> Adapters:
    """The adapter in a file, as that of one device, in float32.

    Args:
        file: adapter_model.safetensors of a PEFT folder.
        names: What A and B of every module are called in it, in network order.
    """
    values = load_file(file)
    return Adapters(
        {module: values[a][None].float() for module, (a, _) in names.items()},
        {module: values[b][None].float() for module, (_, b) in names.items()},
    )
