"""Pretrain the embedded model: `python -m meshtune.engine.backbone.pretrain --out FOLDER`."""

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from torch import Tensor
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from meshtune.engine.backbone.corpus import PHASES, documents
from meshtune.engine.backbone.writers import Document

log = logging.getLogger("meshtune.engine.backbone.pretrain")

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
CHARACTERS = ("\n", *(chr(code) for code in range(32, 127)))
PAD, BOS, EOS, UNK = range(4)
LONGEST = 96  # characters; the few longer documents are dropped

LEAD_WEIGHT = 0.5  # of the mean loss of the leads, mostly chance, beside 1 for the results

TABLE_START, TABLE_END = "<!-- table -->", "<!-- end of table -->"
CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# Meshtune embedded backbone

A character-level language model with {parameters} parameters, small enough that a whole fleet of
devices fine-tunes it on two CPU cores. It is fluent but ignorant: it has read the language of
Meshtune's eight generated tasks and holds the skills behind them, in other words and other
notation, but has never seen a prompt of a task with its answer. Made for studying federated
fine-tuning; of no use as a source of text or facts.

`LlamaForCausalLM`: width 160, 4 layers, 5 heads of 32, feed-forward 416, tied embeddings, at most
128 tokens; one token per printable ASCII character or newline, plus `<pad>`, `<bos>`, `<eos>` and
`<unk>`. A text starts with `<bos>`. Plain `AutoModelForCausalLM.from_pretrained(folder)` loads it.

## What it can do

Before any training, and after one device alone has trained a LoRA adapter (stock PEFT: rank 8,
alpha 16, all seven kinds of linear layer, AdamW at 2e-3, batches of 16 from 2,000 samples), on
400 held-out samples per task. Generated answers count when they match exactly, end included.
Made with `python -m meshtune.engine.backbone.probe --card`.

{table}

Prompt loss is high where a prompt is mostly random digits and the closing mark `>`, which the
corpus never puts there; 4.6 would be blind guessing among characters.

It never learned well to look up one fact among several: on verdicts about a passage in the corpus
it stays close to guessing. The tasks on reading and entailment therefore use few words.

## Data

Endless documents of `engine/backbone/corpus.py`, drawn from one seed; every document was seen once.

| kind of document | first {first_steps} steps | later |
| --- | --- | --- |
{weights}

## Training

`{command} --out FOLDER --steps {steps} --first-steps {first_steps}`

Seed {seed}; at most {batch_tokens} tokens per step. Muon at {matrix_rate} with weight decay
{weight_decay} for the matrices inside the layers, AdamW at {other_rate} for the rest, both started
anew for the later steps. Each time {warmup_steps} steps of warm-up and a plateau; over the last
{decay_fraction:.0%} of the later steps a straight line to zero. Matrix products in bfloat16,
weights in float32. It took {minutes} minutes on two cores shared with other work. The loss counts
what follows from a document's beginning fully, and with {lead_weight} the beginnings, which are
mostly chance.

| step | loss of beginnings (nats/char) | loss of what follows (nats/char) |
| --- | --- | --- |
{losses}
"""


@dataclass(frozen=True)
class Batch:
    """Documents as tokens, and which of the predicted ones follow from what comes before."""

    tokens: Int[Tensor, "b t"]
    is_result: Bool[Tensor, "b t-1"]


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, besides the corpus."""

    first_steps: int = 3500
    steps: int = 6500
    seed: int = 0
    batch_tokens: int = 6144
    chunk: int = 16_384  # documents sorted by length together, so that batches hold little padding
    matrix_rate: float = 0.02
    other_rate: float = 0.004
    weight_decay: float = 0.05
    warmup_steps: int = 100
    decay_fraction: float = 0.35


@dataclass(frozen=True)
class Point:
    """Mean losses over the steps since the point before, in nats per character."""

    step: int
    lead_loss: float
    result_loss: float
    seconds: float


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per printable ASCII character or newline, and four special tokens."""
    vocabulary = {text: i for i, text in enumerate((*SPECIALS, *CHARACTERS))}
    characters = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    characters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=characters,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        model_max_length=128,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def build_model(seed: int) -> LlamaForCausalLM:
    """The untrained model. Sizes are multiples of 32, as tiled bfloat16 matrix units like them."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=128,
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
    model: LlamaForCausalLM = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return model


def batches(seed: int, batch_tokens: int, chunk: int, phase: int = 0) -> Iterator[Batch]:
    """Endless batches of documents of like length, each row `<bos> document <eos>`."""
    rng = Random(seed)
    source = (pieces for pieces in documents(seed, phase) if sum(map(len, pieces)) <= LONGEST)
    while True:
        groups: list[list[Document]] = [[]]
        for pieces in sorted(islice(source, chunk), key=lambda p: sum(map(len, p))):
            if (sum(map(len, pieces)) + 2) * (len(groups[-1]) + 1) > batch_tokens:
                groups.append([])
            groups[-1].append(pieces)
        rng.shuffle(groups)
        yield from map(_batch, groups)


def _batch(group: list[Document]) -> Batch:
    code_of = {text: i + len(SPECIALS) for i, text in enumerate(CHARACTERS)}
    width = max(sum(map(len, pieces)) for pieces in group) + 2
    tokens = torch.full((len(group), width), PAD)
    is_result = torch.zeros(len(group), width - 1, dtype=torch.bool)
    for row, pieces in enumerate(group):
        ids = [BOS, *(code_of[c] for piece in pieces for c in piece), EOS]
        follows = [index % 2 == 1 for index, piece in enumerate(pieces) for _ in piece]
        tokens[row, : len(ids)] = torch.tensor(ids)
        is_result[row, : len(ids) - 1] = torch.tensor([*follows, True])
    return Batch(tokens, is_result)


def losses(
    model: LlamaForCausalLM, batch: Batch, *, bfloat16: bool = True
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean cross-entropy of the leads and of the results, in nats per token.

    The matrix products run in bfloat16, or in float32 as the weights are.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        hidden = model.model(input_ids=batch.tokens[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(hidden)
    targets = batch.tokens[:, 1:]
    each = functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), reduction="none"
    ).view_as(targets)
    is_lead = (targets != PAD) & ~batch.is_result
    return (each * is_lead).sum() / is_lead.sum(), (
        each * batch.is_result
    ).sum() / batch.is_result.sum()


def rate_factor(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, a plateau, and over the last `decay_fraction` a straight line to zero."""
    left = (steps - step) / (recipe.decay_fraction * steps)
    return min(1.0, (step + 1) / recipe.warmup_steps, left)


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embedding and norms."""
    inner = [p for p in model.model.layers.parameters() if p.ndim == 2]
    ids = {id(p) for p in inner}
    rest = [p for p in model.parameters() if id(p) not in ids]
    return [
        torch.optim.Muon(
            inner, lr=recipe.matrix_rate, weight_decay=recipe.weight_decay, momentum=0.95
        ),
        torch.optim.AdamW(rest, lr=recipe.other_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def pretrain(
    recipe: Recipe, *, compiled: bool, saved: Callable[[LlamaForCausalLM, list[Point]], None]
) -> None:
    """Train and hand model and loss curve to `saved` every 500 steps and at the end.

    Each phase of the corpus has fresh optimizers; only the last one ends with a falling rate.
    """
    model = build_model(recipe.seed)
    losses_of = torch.compile(losses, dynamic=True) if compiled else losses
    descend(model, schedule(model, recipe), recipe.steps, losses_of, saved)


def descend(
    model: LlamaForCausalLM,
    steps: Iterator[tuple[int, Batch, list[torch.optim.Optimizer]]],
    last: int,
    losses_of: Callable[[LlamaForCausalLM, Batch], tuple[Tensor, Tensor]],
    saved: Callable[[LlamaForCausalLM, list[Point]], None],
) -> None:
    """Take the steps up to number `last`; hand model and curve to `saved` every 500 of them."""
    curve: list[Point] = []
    recent: list[Tensor] = []
    started = time.monotonic()
    for step, batch, movers in islice(steps, last):
        lead, result = losses_of(model, batch)
        (LEAD_WEIGHT * lead + result).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for mover in movers:
            mover.step()
            mover.zero_grad(set_to_none=True)
        recent.append(torch.stack((lead, result)).detach())
        if step % 100 == 0 or step == last:
            lead_mean, result_mean = torch.stack(recent).mean(0).tolist()
            curve.append(Point(step, lead_mean, result_mean, time.monotonic() - started))
            recent.clear()
            log.info("%s", curve[-1])
        if step % 500 == 0 or step == last:
            saved(model, curve)


def schedule(
    model: LlamaForCausalLM, recipe: Recipe
) -> Iterator[tuple[int, Batch, list[torch.optim.Optimizer]]]:
    """Number of each step, its batch, and the optimizers at the rate of that step."""
    lengths = (recipe.first_steps, recipe.steps - recipe.first_steps)
    done = 0
    for phase, steps in enumerate(lengths):
        movers = optimizers(model, recipe)
        base_rates = [[group["lr"] for group in mover.param_groups] for mover in movers]
        source = batches(recipe.seed + phase, recipe.batch_tokens, recipe.chunk, phase)
        for step in range(steps):
            last_phase = phase + 1 == len(lengths)
            factor = rate_factor(step, steps if last_phase else 10**9, recipe)
            for mover, rates in zip(movers, base_rates, strict=True):
                for group, rate in zip(mover.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
            yield done + step + 1, next(source), movers
        done += steps


def model_card(recipe: Recipe, curve: list[Point], parameters: int) -> str:
    """The README of the weights folder; the probe fills in the table of tasks."""
    chosen = [p for p in curve if p.step % 500 == 0 or p.step == curve[-1].step]
    losses_table = "\n".join(
        f"| {p.step} | {p.lead_loss:.3f} | {p.result_loss:.4f} |" for p in chosen
    )
    kinds = {writer: None for phase in PHASES for writer in phase}
    weights = "\n".join(
        f"| {kind.__name__.removeprefix('write_').replace('_', ' ')} | "
        + " | ".join(f"{100 * p.get(kind, 0) / sum(p.values()):.0f} %" for p in PHASES)
        + " |"
        for kind in kinds
    )
    return CARD.format(
        command="python -m meshtune.engine.backbone.pretrain",
        parameters=f"{parameters:,}",
        weights=weights,
        losses=losses_table,
        minutes=f"{curve[-1].seconds / 60:.0f}",
        lead_weight=LEAD_WEIGHT,
        table=f"{TABLE_START}\n{TABLE_END}",
        **asdict(recipe),
    )


def save(folder: Path, model: LlamaForCausalLM, recipe: Recipe, curve: list[Point]) -> None:
    """Write the Hugging Face folder: float32 safetensors, tokenizer, model card."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    save_tokenizer(folder, build_tokenizer())
    (folder / "README.md").write_text(model_card(recipe, curve, model.num_parameters()))


def save_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write the files of a tokenizer."""
    tokenizer.save_pretrained(folder)
    told = folder / "tokenizer_config.json"  # the class name that older transformers know too
    told.write_text(told.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument(
        "--first-steps", type=int, default=Recipe.first_steps, help="of these, in the first phase"
    )
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="slower; needs no C++ compiler")
    wish = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(wish.threads)
    recipe = Recipe(first_steps=wish.first_steps, steps=wish.steps, seed=wish.seed)
    pretrain(
        recipe,
        compiled=not wish.no_compile,
        saved=lambda model, curve: save(wish.out, model, recipe, curve),
    )


if __name__ == "__main__":
    main()
