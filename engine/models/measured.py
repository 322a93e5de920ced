"""Sizes of models that are not computed by hand: transformers builds them, without weights."""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from functools import cached_property, lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.models.facts import CONFIG_FILE

PATIENCE_S = 600.0  # to load transformers on a busy machine


class Measured(BaseModel):
    """Sizes of a model of any family.

    Attributes:
        family: `model_type` of its config.json.
        width: Of the residual stream.
        layers: How often the block repeats.
        heads: Of attention.
        vocabulary: Rows of the head.
        context: Tokens that it reads at most.
        parameters: How many values the weights are.
        linears: Name, path in the model of transformers, d_out and d_in of every linear layer that
            carries an adapter, in network order.
        transposed: Whether these layers hold their weights as d_in x d_out, as those of GPT-2 do.
    """

    model_config = ConfigDict(frozen=True)

    family: str
    width: int
    layers: int
    heads: int
    vocabulary: int
    context: int
    parameters: int
    linears: tuple[tuple[str, str, int, int], ...]
    transposed: bool

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(d_out, d_in) of every linear layer that carries an adapter, in network order."""
        return {name: (d_out, d_in) for name, _, d_out, d_in in self.linears}

    @cached_property
    def paths(self) -> dict[str, str]:
        """Where in the model of transformers each of these layers is."""
        return {name: path for name, path, _, _ in self.linears}

    @property
    def head_weights(self) -> int:
        """Weights of the layer that turns the last hidden state into logits."""
        return self.vocabulary * self.width

    @property
    def kept(self) -> int:
        """Values that the backward reads of a token in a layer, those of attention left out."""
        return sum(d_out + d_in for d_out, d_in in self.shapes.values()) // max(1, self.layers)


class Answer(BaseModel):
    """What the process that builds a model says: its sizes, or why there are none."""

    measured: Measured | None = None
    refused: str | None = None


def measured_in(folder: Path, kept: Path) -> Measured:
    """The sizes of the model in a folder, asked once for each config.json.

    Another process builds the model, as whoever plans must not load torch.

    Args:
        folder: With a config.json.
        kept: Folder of the answers of earlier times.

    Raises:
        ConfigMismatch: transformers does not know the family, or it cannot have an adapter per
            device.
    """
    answer = _answer(folder, (folder / CONFIG_FILE).stat().st_mtime_ns, kept)
    if answer.measured is None:
        raise ConfigMismatch(f"{folder} cannot be used: {answer.refused}")
    return answer.measured


@lru_cache(maxsize=32)  # a plan asks for every round; a file that was written anew is read anew
def _answer(folder: Path, _written_ns: int, kept: Path) -> Answer:
    versions = [importlib.metadata.version(name) for name in ("meshtune", "transformers", "torch")]
    told = (folder / CONFIG_FILE).read_bytes() + "\n".join(versions).encode()
    place = kept / f"{hashlib.sha256(told).hexdigest()}.json"
    try:
        return Answer.model_validate_json(place.read_bytes())
    except (OSError, ValidationError):
        found = _asked(folder)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(found.model_dump_json(), encoding="utf-8")
    except OSError:
        pass  # a folder that cannot be written to: this process knows it, the next one asks again
    return found


def _asked(folder: Path) -> Answer:
    command = [sys.executable, "-m", "meshtune.engine.models.measuring", str(folder)]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            check=True,
            timeout=PATIENCE_S,
        )
        return Answer.model_validate_json(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, OSError, IndexError, ValidationError) as error:
        raise ConfigMismatch(f"the model in {folder} could not be measured: {error}") from error
