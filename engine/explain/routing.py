"""Routing without a router, on the embedded model: prompts, prototypes, and who would answer."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from meshtune.engine.answering.gating import centred_cosines
from meshtune.engine.backbone.embedded import embedded_backbone, embedded_tokenizer
from meshtune.engine.backbone.encode import encode
from meshtune.engine.config import WORLD_TASKS, TaskName
from meshtune.engine.tasks import TASKS
from meshtune.engine.tasks.base import test_samples as held_out_samples, train_samples

NAMES = WORLD_TASKS["embedded"]
PROMPTS = 8  # per task
LEARNED = 64  # training prompts behind each prototype
SEED = 0


@dataclass(frozen=True)
class Routing:
    """Prompts in the plane of the two directions in which prototypes differ most."""

    task: tuple[TaskName, ...]  # of each prompt
    prompt: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    chosen: tuple[TaskName, ...]  # whose prototype is nearest
    similarity: tuple[tuple[float, ...], ...]  # of each prompt to each prototype
    prototype_x: tuple[float, ...]  # in the order of the catalogue
    prototype_y: tuple[float, ...]
    right_fraction: float


def routing(layer: int) -> Routing:
    """How the gate by prototypes routes unseen prompts at the input of a layer (M10, gate G3).

    A prototype h_k is the mean input of 64 training prompts of task k under the frozen model; a
    prompt goes to the largest centred cosine cos(x - hbar, h_k - hbar). Nothing is trained.
    Source: arXiv 2602.20492, Eq. 26-27; centring is our repair.
    """
    inputs, prototypes, prompts, tasks = _inputs(layer)
    scores = centred_cosines(inputs, prototypes)
    best = scores.argmax(dim=1).tolist()
    centre = prototypes.mean(dim=0)
    plane = torch.linalg.svd(prototypes - centre, full_matrices=False).Vh[:2]
    spots, homes = ((part - centre) @ plane.mT for part in (inputs, prototypes))
    chosen = tuple(NAMES[k] for k in best)
    return Routing(
        task=tasks,
        prompt=prompts,
        x=tuple(spots[:, 0].tolist()),
        y=tuple(spots[:, 1].tolist()),
        chosen=chosen,
        similarity=tuple(map(tuple, scores.tolist())),
        prototype_x=tuple(homes[:, 0].tolist()),
        prototype_y=tuple(homes[:, 1].tolist()),
        right_fraction=sum(a == b for a, b in zip(tasks, chosen, strict=True)) / len(tasks),
    )


@lru_cache(maxsize=8)
def _inputs(
    layer: int,
) -> tuple[Float[Tensor, "q d"], Float[Tensor, "k d"], tuple[str, ...], tuple[TaskName, ...]]:
    tokenizer, probe = embedded_tokenizer(), embedded_backbone(torch.float32)
    module = list(probe.shapes)[layer * len(probe.shapes) // len(probe.layers)]
    asked = {name: held_out_samples(TASKS[name], SEED, PROMPTS) for name in NAMES}
    learned = {name: train_samples(TASKS[name], SEED, 0, LEARNED) for name in NAMES}
    with torch.no_grad():
        parts = []
        for drawn in (asked, learned):
            encoded = encode([each for name in NAMES for each in drawn[name]], tokenizer)
            parts.append(probe.prompt_inputs(encoded.tokens, encoded.prompt_mask)[module])
    prototypes = parts[1].unflatten(0, (len(NAMES), LEARNED)).mean(dim=1)
    prompts = tuple(each.prompt for name in NAMES for each in asked[name])
    tasks = tuple(name for name in NAMES for _ in range(PROMPTS))
    return parts[0], prototypes, prompts, tasks
