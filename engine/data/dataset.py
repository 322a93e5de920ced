"""A file of rows as a task: examples to train on and to test with, and what to know of them."""

from collections import Counter
from dataclasses import dataclass

from meshtune.engine.data.patterns import require_columns
from meshtune.engine.data.rows import DataError, Fault, Table, told
from meshtune.engine.data.splitting import Split, parted, repeats
from meshtune.engine.data.template import Example, Template, examples_of


@dataclass(frozen=True)
class Dataset:
    """What a template makes of a file.

    Attributes:
        examples: In the order of the file; one at least.
        faults: Rows that are left out, in the order of the file.
        repeated: Examples with one prompt, the first and a later one.
        sha256: Of the file, in hex.
        unit: What rows are counted in, line or row.
    """

    examples: tuple[Example, ...]
    faults: tuple[Fault, ...]
    repeated: tuple[tuple[Example, Example], ...]
    sha256: str
    unit: str

    @property
    def train(self) -> tuple[Example, ...]:
        """Those to train on."""
        return tuple(each for each in self.examples if not each.held_out)

    @property
    def test(self) -> tuple[Example, ...]:
        """Those that are held out."""
        return tuple(each for each in self.examples if each.held_out)

    @property
    def across(self) -> tuple[tuple[Example, Example], ...]:
        """The repeated ones that are trained on and held out: their test tells nothing."""
        return tuple(pair for pair in self.repeated if pair[0].held_out != pair[1].held_out)

    @property
    def chance(self) -> float | None:
        """Accuracy of a blind guess among the choices; None if answers are generated."""
        shares = [1.0 / len(each.choices) for each in self.examples if each.choices]
        return sum(shares) / len(shares) if shares else None

    @property
    def commonest(self) -> tuple[str, float]:
        """The answer that most examples have, and the share of them that have it."""
        answer, times = Counter(each.answer for each in self.examples).most_common(1)[0]
        return answer, times / len(self.examples)

    @property
    def longest(self) -> Example:
        """The example with most characters of prompt."""
        return max(self.examples, key=lambda each: len(each.prompt))


def dataset_of(table: Table, template: Template, split: Split) -> Dataset:
    """The examples of a table.

    Raises:
        DataError: it lacks a column that template or split name, or no row of it can be used.
    """
    if split.column:
        require_columns([split.column], table.columns, "split")
    made, unfit = examples_of(template, table)
    examples, unsplit = parted(split, made)
    faults = tuple(sorted((*table.faults, *unfit, *unsplit), key=lambda each: each.number))
    if not examples:
        raise DataError(f"no row can be used: {'; '.join(told(faults, table.unit))}")
    return Dataset(examples, faults, repeats(examples), table.sha256, table.unit)
