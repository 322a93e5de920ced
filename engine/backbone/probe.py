"""What the embedded model can do, before and after one device trains an adapter on it.

`python -m meshtune.engine.backbone.probe` prints the table of the model card, with stock PEFT.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn import functional

from meshtune.engine.backbone.embedded import embedded_folder, embedded_tokenizer, load_embedded
from meshtune.engine.backbone.encode import IGNORED, Encoded, choice_tokens, encode
from meshtune.engine.backbone.pretrain import TABLE_END, TABLE_START
from meshtune.engine.rng import stream
from meshtune.engine.tasks import TASKS, WORLD_TASKS, TaskName
from meshtune.engine.tasks.base import test_samples, train_samples

NAMES = WORLD_TASKS["embedded"]
LINEAR_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Setup:
    """One device alone: its adapter, its optimizer, and when it is examined."""

    rank: int = 8
    alpha: int = 16
    learning_rate: float = 2e-3
    batch: int = 16
    train_samples: int = 2000
    test_samples: int = 400
    exams: tuple[int, ...] = (100, 200, 400)
    seed: int = 0


def correct(
    logits: Float[Tensor, "b t v"], batch: Encoded, choices: Int[Tensor, "b c"]
) -> Bool[Tensor, " b"]:
    """Which rows are answered right: the most likely choice, or every answer token on its own.

    The argmax under the right answer's prefix equals greedy decoding exactly when all of it agrees.
    """
    scored = batch.targets != IGNORED
    exact = ((logits.argmax(-1) == batch.targets) | ~scored).all(-1)
    first = scored.int().argmax(-1)
    rows = torch.arange(len(first))
    likely = logits[rows, first].gather(-1, choices.clamp(min=0))
    picked = choices[rows, likely.masked_fill(choices < 0, -torch.inf).argmax(-1)]
    return torch.where(choices[:, 0] >= 0, picked == batch.targets[rows, first], exact)


@torch.no_grad()
def accuracy(model: torch.nn.Module, batch: Encoded, choices: Int[Tensor, "b c"]) -> float:
    """Share of the rows that are answered right."""
    logits = model(input_ids=batch.tokens, use_cache=False).logits
    return float(correct(logits, batch, choices).float().mean())


def answer_loss(model: torch.nn.Module, batch: Encoded) -> Float[Tensor, ""]:
    """Mean cross-entropy over the answer tokens, in nats."""
    logits = model(input_ids=batch.tokens, use_cache=False).logits
    return functional.cross_entropy(
        logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED
    )


@torch.no_grad()
def prompt_loss(model: torch.nn.Module, batch: Encoded) -> float:
    """Mean cross-entropy over the prompt, in nats per character: how familiar its language is."""
    targets = batch.tokens[:, 1:].masked_fill(~batch.prompt_mask[:, 1:], IGNORED)
    logits = model(input_ids=batch.tokens, use_cache=False).logits[:, :-1]
    return float(functional.cross_entropy(logits.flatten(0, 1), targets.flatten()))


def probe_task(name: TaskName, setup: Setup) -> list[float]:
    """Prompt loss, accuracy without training, then accuracy at each exam of one lone device."""
    (model, _), tokenizer = load_embedded(), embedded_tokenizer()
    task = TASKS[name]
    exam = test_samples(task, setup.seed, setup.test_samples)
    test, choices = encode(exam, tokenizer), choice_tokens(exam, tokenizer)
    results = [prompt_loss(model, test), accuracy(model, test, choices)]
    pool = encode(train_samples(task, setup.seed, 0, setup.train_samples), tokenizer)
    torch.manual_seed(setup.seed)
    lone = get_peft_model(
        model, LoraConfig(r=setup.rank, lora_alpha=setup.alpha, target_modules=LINEAR_LAYERS)
    )
    mover = torch.optim.AdamW(
        [p for p in lone.parameters() if p.requires_grad], lr=setup.learning_rate, weight_decay=0.0
    )
    rng = stream(setup.seed, "probe", name)
    for step in range(1, max(setup.exams) + 1):
        rows = torch.from_numpy(rng.integers(len(pool.tokens), size=setup.batch))
        for group in mover.param_groups:
            group["lr"] = setup.learning_rate * min(1.0, step / 10)
        loss = answer_loss(lone, pool.rows(rows).trimmed())
        mover.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lone.parameters(), 1.0)
        mover.step()
        if step in setup.exams:
            results.append(accuracy(lone, test, choices))
    return results


def table_lines(names: Sequence[TaskName], setup: Setup) -> Iterator[str]:
    """The lines of a Markdown table, each as soon as its task is done."""
    exams = [f"{step} steps" for step in setup.exams]
    heads = ["task", "prompt loss (nats/char)", "guessing", "zero-shot", *exams]
    yield f"| {' | '.join(heads)} |"
    yield "|" + " --- |" * len(heads)
    for name in names:
        prompt, *scores = probe_task(name, setup)
        cells = [f"{100 * score:.1f} %" for score in (TASKS[name].chance, *scores)]
        yield f"| `{name}` | {prompt:.2f} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=Setup.learning_rate)
    parser.add_argument("--seed", type=int, default=Setup.seed)
    parser.add_argument("--tasks", nargs="*", default=NAMES, choices=NAMES)
    parser.add_argument("--card", action="store_true", help="put the table into the model card")
    wish = parser.parse_args()
    torch.set_num_threads(1)  # the work is tiny; more threads would only wait for each other
    lines: list[str] = []
    for line in table_lines(wish.tasks, Setup(learning_rate=wish.lr, seed=wish.seed)):
        lines.append(line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    if wish.card:
        card = embedded_folder() / "README.md"
        before, _, after = card.read_text().partition(TABLE_START)
        after = after.partition(TABLE_END)[2]
        table = "\n".join(lines)
        card.write_text(f"{before}{TABLE_START}\n{table}\n{TABLE_END}{after}")


if __name__ == "__main__":
    main()
