"""The pretraining corpus: the language and the skills of the tasks, never the tasks themselves.

Every skill is written in several ways that differ from the task's own prompt: other operation
words, other separators, other labels for an answer. Notation that the prompts share, such as
`47+25`, `sorted([3,1])` or options a to d, appears without any result, and the closing mark `>` of
the prompts only in chains, where it announces nothing. So the model learns the circuits (adding,
sorting, looking up, comparing) but not which of them a bare prompt asks for.
"""

from collections.abc import Iterator
from random import Random

from meshtune.engine.backbone.writers import (
    Document,
    Writer,
    write_addition,
    write_chain,
    write_choice,
    write_counting,
    write_expression,
    write_fact,
    write_inference,
    write_judgements,
    write_kind,
    write_labels,
    write_list,
    write_list_many,
    write_lookup,
    write_matches,
    write_notation,
    write_number_words,
    write_options,
    write_passage,
    write_retelling,
    write_verdicts,
    write_word_play,
)

# How often each kind is written: first one result a document, so that single skills come apart;
# then, for what needs looking things up, many results a document, which teaches it far faster.
PHASES: tuple[dict[Writer, int], ...] = (
    {
        write_addition: 16,
        write_counting: 1,
        write_number_words: 6,
        write_expression: 14,
        write_list: 14,
        write_word_play: 9,
        write_passage: 13,
        write_inference: 11,
        write_kind: 1,
        write_fact: 1,
        write_choice: 8,
        write_lookup: 3,
        write_chain: 2,
        write_notation: 4,
    },
    {
        write_addition: 8,
        write_number_words: 6,
        write_expression: 14,
        write_list: 9,
        write_list_many: 9,
        write_word_play: 7,
        write_passage: 4,
        write_retelling: 7,
        write_verdicts: 12,
        write_inference: 3,
        write_judgements: 12,
        write_kind: 3,
        write_fact: 3,
        write_choice: 2,
        write_matches: 10,
        write_labels: 5,
        write_chain: 2,
        write_notation: 4,
        write_options: 1,
    },
)


def documents(seed: int, phase: int = 0) -> Iterator[Document]:
    """Endless documents of one phase, the same for the same seed."""
    rng = Random(seed)
    writers, weights = list(PHASES[phase]), list(PHASES[phase].values())
    while True:
        for writer in rng.choices(writers, weights, k=1024):
            yield writer(rng)
