"""Samples to token tensors: inputs, shifted targets, and which tokens are prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from meshtune.engine.backbone.tokenizer import Tokenizer
from meshtune.engine.tasks.base import Sample

IGNORED = -100  # target of every place that is not scored, as torch's cross-entropy expects


@dataclass(frozen=True)
class Encoded:
    """Token tensors of a batch: `logits[:, t]` on `tokens` predict `targets[:, t]`.

    Targets are -100 except where the next token belongs to the answer; a generated answer includes
    its end token, a chosen one does not. The prompt mask leaves out the start token and
    padding: both are the same for all tasks and would only blur what a gate sees.
    """

    tokens: Int[Tensor, "b t"]
    targets: Int[Tensor, "b t"]
    prompt_mask: Bool[Tensor, "b t"]

    def rows(self, index: Int[Tensor, " k"]) -> "Encoded":
        """The batch made of the rows named by `index`."""
        return Encoded(self.tokens[index], self.targets[index], self.prompt_mask[index])

    def trimmed(self) -> "Encoded":
        """The same batch without the columns that are padding in every row."""
        scored = (self.targets != IGNORED).any(dim=0).nonzero()
        used = int(scored[-1]) + 1 if len(scored) else 1
        return Encoded(self.tokens[:, :used], self.targets[:, :used], self.prompt_mask[:, :used])


def encode(samples: Sequence[Sample], tokenizer: Tokenizer) -> Encoded:
    """The samples right-padded to the longest of them."""
    rows = _ids(samples, tokenizer)
    return _padded(rows, max(len(ids) - 1 for ids, _ in rows), tokenizer)


def choice_tokens(samples: Sequence[Sample], tokenizer: Tokenizer) -> Int[Tensor, "b c"]:
    """Token of each choice, in the order of `choices`, padded with -1.

    All -1 where there are no choices, or where one of them is more than a token.
    """
    ids = [_one_token_each(sample.choices, tokenizer) for sample in samples]
    width = max(1, *map(len, ids))
    return torch.tensor([[*row, *[-1] * (width - len(row))] for row in ids], dtype=torch.int64)


@lru_cache(maxsize=1024)
def _one_token_each(choices: tuple[str, ...], tokenizer: Tokenizer) -> list[int]:
    ids: list[list[int]] = [tokenizer.encode(each, add_special_tokens=False) for each in choices]
    firsts = [each[0] for each in ids if len(each) == 1]
    return firsts if len(set(firsts)) == len(choices) else []


def _ids(samples: Sequence[Sample], tokenizer: Tokenizer) -> list[tuple[list[int], int]]:
    """Token ids of start, prompt and answer, and how many of them come before the answer."""

    def ids_of(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids

    prompts = ids_of([sample.prompt for sample in samples])
    answers = ids_of([sample.answer for sample in samples])
    rows = []
    for sample, prompt, answer in zip(samples, prompts, answers, strict=True):
        end = [] if sample.choices else [tokenizer.eos_token_id]
        before, after = _fitted(prompt, [*answer, *end], sample.tokens)
        rows.append(([tokenizer.bos_token_id, *before, *after], 1 + len(before)))
    return rows


def _fitted(prompt: list[int], answer: list[int], most: int | None) -> tuple[list[int], list[int]]:
    """Prompt and answer in at most so many tokens, the start token included.

    The end of a prompt asks, so its begin is cut off; an answer loses its end only where half of
    the room is not enough for it.
    """
    if most is None or 1 + len(prompt) + len(answer) <= most:
        return prompt, answer
    answer = answer[: max(most - 1 - len(prompt), most // 2)]
    return prompt[len(prompt) + len(answer) + 1 - most :], answer


def _padded(rows: Sequence[tuple[list[int], int]], width: int, tokenizer: Tokenizer) -> Encoded:
    # Filled in NumPy: lists of lists take torch five times as long to read.
    shape = (len(rows), width)
    tokens = np.full(shape, tokenizer.pad_token_id, dtype=np.int64)
    targets = np.full(shape, IGNORED, dtype=np.int64)
    prompt_mask = np.zeros(shape, dtype=np.bool_)
    for row, (ids, before) in enumerate(rows):
        used = len(ids) - 1
        tokens[row, :used] = ids[:-1]
        targets[row, before - 1 : used] = ids[before:]
        prompt_mask[row, 1:before] = True  # without the start token
    return Encoded(*map(torch.from_numpy, (tokens, targets, prompt_mask)))
