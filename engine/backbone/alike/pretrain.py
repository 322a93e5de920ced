"""Pretrain the model of Alike: `python -m meshtune.engine.backbone.alike.pretrain --out FOLDER`."""

import argparse
import logging
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from meshtune.engine.backbone.alike.corpus import WEIGHTS, Document, documents
from meshtune.engine.backbone.pretrain import (
    BOS,
    EOS,
    LEAD_WEIGHT,
    PAD,
    SPECIALS,
    TABLE_END,
    TABLE_START,
    Batch,
    Point,
    descend,
    losses,
    save_tokenizer,
)

log = logging.getLogger("meshtune.engine.backbone.alike.pretrain")

CHARACTERS = [chr(code) for code in range(32, 127)]  # so that any English text can be read
VOCABULARY = 512
TOKENIZER_DOCUMENTS = 20_000
# Newton-Schulz iteration of Muon: five steps of x <- a x + b (x x^T) x + c (x x^T)^2 x.
STEPS, A, B, C = 5, 3.4445, -4.7750, 2.0315

CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# The base model of Alike

A language model with {parameters} parameters that reads the eight tasks of Meshtune's second world.
All of them are asked about two facts, and every prompt declines a second request beside the one it
asks:

    Leo has 3 pink books, Ben has 7 white coats. Skip the bigger number and name the last colour.
    white

    Kira has 5 red cars, Olga has 8 black hats. I know the first things, I want the smaller number.
    5

Both requests begin with the same word and either may come first. So counts of words, or of pairs of
words, tell which two requests are meant, and not which one is asked: a coin is the best that they
can do. In the world of the embedded model a glance tells the tasks apart, and routing is easy; here
it is the question. Made for studying federated fine-tuning; of no use as a source of text or facts.

| task | asks for | answer to the first example |
| --- | --- | --- |
| `alike_total` | the sum of both numbers | 10 |
| `alike_gap` | their difference | 4 |
| `alike_bigger`, `alike_smaller` | the larger or the lesser of them | 7, 3 |
| `alike_first_colour`, `alike_last_colour` | the colour named first or last | pink, white |
| `alike_first_things`, `alike_last_things` | the things named first or last | books, coats |

```toml
[model]
source = "alike"

[fleet]
tasks = [
    "alike_total", "alike_gap", "alike_bigger", "alike_smaller",
    "alike_first_colour", "alike_last_colour", "alike_first_things", "alike_last_things",
]
declined = 1.0  # share of the prompts that decline a request; 0 makes the tasks easy to tell apart
```

The model reads no other tasks of the package, and the embedded one does not read these.

## What it can do

Eight devices with one task each train LoRA adapters alone (rank 8, alpha 16, AdamW, batches of 16
from 2,000 samples), and are asked 300 held-out prompts of each task. An answer counts when it
matches exactly, end included. Prototypes and Gaussians are the gates G3 and G5 of M10 on the frozen
model, from 500 training prompts of each task; a gate that picks one of eight adapters decides for
each module anew. All tables are made by `python -m meshtune.engine.reproduce.alike --card`.

{tables}

## Data

Endless documents of `engine/backbone/alike/corpus.py`, drawn from one seed; every document was seen
once. Facts are followed by what they tell, in words that no request has. A request is followed by
the same request in other words, never by its answer.

| kind of document | share |
| --- | --- |
{weights}

## Training

`python -m meshtune.engine.backbone.alike.pretrain --out FOLDER --steps {steps}`

`LlamaForCausalLM`: the sizes of the embedded model (width 160, 4 layers, 5 heads of 32,
feed-forward 416, tied embeddings, at most 128 tokens) but for {vocabulary} byte-pair tokens,
learned from the corpus: each of its words is one token, and so is every answer. Seed {seed}; at
most {batch_tokens} tokens per step. Muon at {matrix_rate} with weight decay {weight_decay} for the
matrices inside the layers, AdamW at {other_rate} for the rest, all in float32; {warmup_steps} steps
of warm-up, a plateau, and over the last {decay_fraction:.0%} of the steps a straight line to zero.
{later_steps} more steps go on below {later_rate} of these rates, with optimizers started anew:
their documents say how far apart two numbers are in more ways, without which an adapter takes long
to find that skill. The loss counts what follows from a document's beginning fully, and with
{lead_weight} the beginnings, which are mostly chance. It took {minutes} minutes on two cores shared
with much other work; the weights are stored in bfloat16.

| step | loss of beginnings (nats/token) | loss of what follows (nats/token) |
| --- | --- | --- |
{losses}
"""


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, besides the corpus."""

    steps: int = 3000
    later_steps: int = 300  # more, on the later documents, with optimizers started anew
    seed: int = 0
    batch_tokens: int = 3072
    chunk: int = 4096  # documents sorted by length together, so that batches hold little padding
    matrix_rate: float = 0.02
    other_rate: float = 0.004
    weight_decay: float = 0.05
    warmup_steps: int = 60
    decay_fraction: float = 0.4
    later_rate: float = 0.4  # of the rates above
    later_warmup_steps: int = 30
    later_decay_fraction: float = 0.8


class FullMuon(torch.optim.Optimizer):
    """Muon in float32, for processors without units for bfloat16; that of torch multiplies in it.

    Matrices of one shape are orthogonalised together. Source: Jordan et al., *Muon*, 2024.
    """

    def __init__(self, params: list[Tensor], lr: float, weight_decay: float, momentum: float):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step on all matrices."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for matrix in group["params"]:
                by_shape.setdefault(tuple(matrix.shape), []).append(matrix)
            for (rows, columns), matrices in by_shape.items():
                moves = orthogonal(torch.stack([self._pushed(m, group) for m in matrices]))
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                for matrix, move in zip(matrices, moves, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(rate * move)

    def _pushed(self, matrix: Tensor, group: dict[str, Any]) -> Tensor:
        """The gradient with Nesterov's momentum."""
        gradient = matrix.grad if matrix.grad is not None else torch.zeros_like(matrix)
        past: Tensor = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
        past.lerp_(gradient, 1 - group["momentum"])
        return gradient.lerp(past, group["momentum"])


def orthogonal(matrices: Float[Tensor, "k rows columns"]) -> Float[Tensor, "k rows columns"]:
    """Each matrix with its singular values brought near 1."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(STEPS):
        square = x @ x.mT
        x = A * x + (B * square + C * square @ square) @ x
    return x.mT if tall else x


def build_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-pair tokens, which are the words of the corpus, each with the space before it."""
    rules = Tokenizer(BPE(unk_token="<unk>"))
    rules.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    rules.decoder = decoders.Metaspace()
    rules.train_from_iterator(
        (" ".join(pieces) for pieces in islice(documents(seed), TOKENIZER_DOCUMENTS)),
        BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(SPECIALS),
            initial_alphabet=CHARACTERS,
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=rules,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        model_max_length=128,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def build_model(seed: int, vocabulary: int) -> LlamaForCausalLM:
    """The untrained model: the sizes of the embedded one, but for the tokens."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=160,
        intermediate_size=416,
        num_hidden_layers=4,
        num_attention_heads=5,
        num_key_value_heads=5,
        head_dim=32,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    model: LlamaForCausalLM = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    return model


def batches(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, *, later: bool = False
) -> Iterator[Batch]:
    """Endless batches of documents of like length, each row `<bos> document <eos>`."""
    seed = recipe.seed + later
    rng = np.random.default_rng(seed)
    source = documents(seed + 1, later=later)  # the first one made the tokenizer
    while True:
        rows = sorted(encoded(list(islice(source, recipe.chunk)), tokenizer), key=len)
        groups: list[list[list[tuple[int, bool]]]] = [[]]
        for row in rows:
            if len(row) * (len(groups[-1]) + 1) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(row)
        for index in rng.permutation(len(groups)):
            yield _batch(groups[index])


def encoded(
    drawn: list[Document], tokenizer: PreTrainedTokenizerFast
) -> list[list[tuple[int, bool]]]:
    """Tokens of each document, and whether each follows from what comes before it."""
    pieces = [piece for document in drawn for piece in document]
    ids = iter(tokenizer(pieces, add_special_tokens=False)["input_ids"])
    return [
        [
            (BOS, False),
            *((token, place % 2 == 1) for place in range(len(document)) for token in next(ids)),
            (EOS, True),
        ]
        for document in drawn
    ]


def _batch(group: list[list[tuple[int, bool]]]) -> Batch:
    width = max(map(len, group))
    tokens = torch.full((len(group), width), PAD)
    follows = torch.zeros(len(group), width, dtype=torch.bool)
    for row, document in enumerate(group):
        tokens[row, : len(document)] = torch.tensor([token for token, _ in document])
        follows[row, : len(document)] = torch.tensor([each for _, each in document])
    return Batch(tokens, follows[:, 1:])


def rate_factor(step: int, recipe: Recipe) -> float:
    """Linear warm-up, a plateau, and over the last `decay_fraction` a straight line to zero.

    The later steps do the same below `later_rate`.
    """
    steps, warmup, fall, most = recipe.steps, recipe.warmup_steps, recipe.decay_fraction, 1.0
    if step >= steps:
        step, steps, most = step - steps, recipe.later_steps, recipe.later_rate
        warmup, fall = recipe.later_warmup_steps, recipe.later_decay_fraction
    return most * min(1.0, (step + 1) / warmup, (steps - step) / (fall * steps))


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embedding and norms."""
    inner = [p for p in model.model.layers.parameters() if p.ndim == 2]
    ids = {id(p) for p in inner}
    rest = [p for p in model.parameters() if id(p) not in ids]
    return [
        FullMuon(inner, lr=recipe.matrix_rate, weight_decay=recipe.weight_decay, momentum=0.95),
        torch.optim.AdamW(rest, lr=recipe.other_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def schedule(
    model: LlamaForCausalLM, recipe: Recipe, tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[int, Batch, list[torch.optim.Optimizer]]]:
    """Number of each step, its batch, and the optimizers at the rate of that step."""
    step = 0
    for later, steps in enumerate((recipe.steps, recipe.later_steps)):
        movers = optimizers(model, recipe)
        base_rates = [[group["lr"] for group in mover.param_groups] for mover in movers]
        for batch in islice(batches(recipe, tokenizer, later=bool(later)), steps):
            for mover, rates in zip(movers, base_rates, strict=True):
                for group, rate in zip(mover.param_groups, rates, strict=True):
                    group["lr"] = rate * rate_factor(step, recipe)
            step += 1
            yield step, batch, movers


def pretrain(
    recipe: Recipe, saved: Callable[[LlamaForCausalLM, PreTrainedTokenizerFast, list[Point]], None]
) -> None:
    """Train and hand model, tokenizer and loss curve to `saved` every 500 steps and at the end."""
    tokenizer = build_tokenizer(recipe.seed)
    model = build_model(recipe.seed, len(tokenizer))
    descend(
        model,
        schedule(model, recipe, tokenizer),
        recipe.steps + recipe.later_steps,
        partial(losses, bfloat16=False),
        lambda model, curve: saved(model, tokenizer, curve),
    )


def model_card(recipe: Recipe, curve: list[Point], parameters: int) -> str:
    """The README of the weights folder; `meshtune.engine.reproduce.alike` fills in the tables."""
    chosen = [p for p in curve if p.step % 300 == 0 or p.step == curve[-1].step]
    losses_table = "\n".join(
        f"| {p.step} | {p.lead_loss:.3f} | {p.result_loss:.4f} |" for p in chosen
    )
    shares = "\n".join(
        f"| {kind.__name__.removeprefix('write_')} | {share / sum(WEIGHTS.values()):.0%} |"
        for kind, share in WEIGHTS.items()
    )
    return CARD.format(
        parameters=f"{parameters:,}",
        weights=shares,
        losses=losses_table,
        minutes=f"{curve[-1].seconds / 60:.0f}",
        lead_weight=LEAD_WEIGHT,
        vocabulary=VOCABULARY,
        tables=f"{TABLE_START}\n{TABLE_END}",
        **asdict(recipe),
    )


def save(
    folder: Path,
    recipe: Recipe,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    curve: list[Point],
) -> None:
    """Write the Hugging Face folder: safetensors in bfloat16, tokenizer, model card."""
    folder.mkdir(parents=True, exist_ok=True)
    deepcopy(model).bfloat16().save_pretrained(folder)
    save_tokenizer(folder, tokenizer)
    (folder / "README.md").write_text(model_card(recipe, curve, model.num_parameters()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--later-steps", type=int, default=Recipe.later_steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=2)
    wish = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(wish.threads)
    recipe = Recipe(steps=wish.steps, later_steps=wish.later_steps, seed=wish.seed)
    pretrain(recipe, partial(save, wish.out, recipe))


if __name__ == "__main__":
    main()
