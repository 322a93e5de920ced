"""Setting an exam: held-out samples as rows of tokens."""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshtune.engine.answering.exam import Exam, Judge, Spoken
from meshtune.engine.backbone.base import Backbone
from meshtune.engine.backbone.encode import IGNORED, choice_tokens, encode
from meshtune.engine.backbone.tokenizer import Tokenizer
from meshtune.engine.data.judging import JUDGES, SPOKEN
from meshtune.engine.tasks.base import Sample


def exam_of(by_task: Sequence[Sequence[Sample]], tokenizer: Tokenizer, probe: Backbone) -> Exam:
    """The exam of the samples of each task, as a float32 model reads them.

    A question whose choices are tokens is one row; one with longer choices has a row for each.
    """
    samples = [sample for task in by_task for sample in task]
    one_token = choice_tokens(samples, tokenizer)
    wrong = [
        (asked, other)
        for asked, sample in enumerate(samples)
        if one_token[asked, 0] < 0
        for other in sample.choices
        if other != sample.answer
    ]
    owner = torch.tensor([*range(len(samples)), *(asked for asked, _ in wrong)])
    rows = [*samples, *(_saying(samples[asked], other) for asked, other in wrong)]
    encoded = encode(rows, tokenizer)
    task = torch.arange(len(by_task)).repeat_interleave(torch.tensor([*map(len, by_task)]))
    questions = encoded.rows(torch.arange(len(samples)))
    return Exam(
        tokens=encoded.tokens,
        targets=encoded.targets,
        choices=one_token[owner],  # a question with rivals has none
        task=task[owner],
        prompt=encoded.prompt_mask,
        inputs=_of_owners(probe.prompt_inputs(questions.tokens, questions.prompt_mask), owner),
        rivals=_rivals(wrong, len(samples)) if wrong else None,
        by_token=torch.tensor([each.score == "loss" for each in rows]),
        spoken=_spoken(samples, questions.targets, tokenizer),
    )


def _saying(sample: Sample, other: str) -> Sample:
    return Sample(sample.prompt, other, sample.choices, sample.score, sample.tokens)


def _of_owners(
    inputs: dict[str, Float[Tensor, "q d_in"]], owner: Int[Tensor, " rows"]
) -> dict[str, Float[Tensor, "rows d_in"]]:
    """What rows read is what their questions read; modules that share an input still do."""
    if len(owner) == len(next(iter(inputs.values()))):
        return inputs
    taken = {id(value): value[owner] for value in inputs.values()}
    return {name: taken[id(value)] for name, value in inputs.items()}


def _rivals(wrong: Sequence[tuple[int, str]], count: int) -> Int[Tensor, "asked wrong"]:
    rows: list[list[int]] = [[] for _ in range(count)]
    for row, (asked, _) in enumerate(wrong, start=count):
        rows[asked].append(row)
    width = max(map(len, rows))
    return torch.tensor([[*row, *[-1] * (width - len(row))] for row in rows])


def _spoken(
    samples: Sequence[Sample], targets: Int[Tensor, "q t"], tokenizer: Tokenizer
) -> Spoken | None:
    """A reply may be as long as the longest answer to questions that are judged like it."""
    rows = [row for row, sample in enumerate(samples) if sample.score in SPOKEN]
    if not rows:
        return None
    most = int((targets[rows] != IGNORED).sum(dim=1).max())
    judges: dict[int, Judge] = {row: partial(_is_right, samples[row], tokenizer) for row in rows}
    return Spoken(judges, tokenizer.eos_token_id, most)


def _is_right(sample: Sample, tokenizer: Tokenizer, reply: list[int]) -> bool:
    return JUDGES[sample.score](tokenizer.decode(reply), sample.answer)
