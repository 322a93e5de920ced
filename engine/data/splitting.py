"""Which examples are trained on and which are for testing."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from meshtune.engine.data.rows import Fault
from meshtune.engine.data.template import Example
from meshtune.engine.fields import Finite, Part

TRAIN = frozenset({"train", "training"})
TEST = frozenset({"test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation"})


class Split(Part):
    """How examples part into those that are trained on and those that are for testing."""

    test_fraction: Annotated[Finite, Field(ge=0.0, lt=1.0)] = Field(
        0.2,
        title="Share for testing",
        description="By a hash of the prompt: the same rows are held out in all runs, whatever "
        "their seed.",
    )
    column: str = Field(
        "",
        max_length=200,
        title="Column",
        description="Says train, or test, validation or dev. Empty: the hash decides.",
    )


def parted(
    split: Split, examples: Iterable[Example]
) -> tuple[tuple[Example, ...], tuple[Fault, ...]]:
    """The examples with their side, and those whose column says none."""
    known: list[Example] = []
    faults: list[Fault] = []
    for example in examples:
        try:
            known.append(replace(example, held_out=_is_for_testing(split, example)))
        except ValueError as error:
            faults.append(Fault(example.row.number, str(error)))
    return tuple(known), tuple(faults)


def repeats(examples: Iterable[Example]) -> tuple[tuple[Example, Example], ...]:
    """Examples whose prompt was asked before, each behind the first that asks it.

    Case, and how many blanks there are, make no other prompt.
    """
    first: dict[str, Example] = {}
    pairs = [(first.setdefault(_asked(each.prompt), each), each) for each in examples]
    return tuple((earlier, each) for earlier, each in pairs if earlier is not each)


def _is_for_testing(split: Split, example: Example) -> bool:
    if not split.column:
        return _position(example.prompt) < split.test_fraction
    said = example.row.cells.get(split.column, "")
    word = said.strip().casefold() if isinstance(said, str) else ""
    if word not in TRAIN | TEST:
        raise ValueError(
            f"its column {split.column[:80]!r} says {str(said)[:80]!r}, neither train nor test"
        )
    return word in TEST


def _position(prompt: str) -> float:
    """Between 0 and 1, evenly; a larger share for testing keeps all of a smaller one."""
    digest = hashlib.blake2b(_asked(prompt).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _asked(prompt: str) -> str:
    return " ".join(prompt.split()).casefold()
