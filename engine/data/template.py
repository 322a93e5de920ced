"""How rows become prompts and answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from meshtune.engine.data.judging import JUDGES
from meshtune.engine.data.patterns import columns_in, filled, listed, require_columns
from meshtune.engine.data.rows import Fault, Row, Table
from meshtune.engine.fields import Part

NO_CODE = (
    "answers are not run as programs; choose exact, contains, numeric, or loss, which asks only "
    "how likely the answer is"
)
TRUTH = ("false", "true")


def _read(pattern: str) -> str:
    columns_in(pattern)
    return pattern


def _no_code(score: object) -> object:
    if score == "code":
        raise ValueError(NO_CODE)
    return score


Pattern = Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_read)]
Score = Annotated[
    Literal["choice", "exact", "contains", "numeric", "loss"], BeforeValidator(_no_code)
]


class Template(Part):
    """Patterns for the texts of a row: `{column}` is its cell of that name, `{{` a brace."""

    prompt: Pattern = Field(title="Prompt", description="What is asked; {column} is a cell.")
    answer: Pattern = Field(
        title="Answer",
        description="What is right. With choices: label, text, or number from 0 of the right one.",
    )
    choices: tuple[Pattern, ...] = Field(
        (),
        max_length=100,
        title="Choices",
        description="The answers to choose from, or one column that lists them. None: the answer "
        "is generated.",
    )
    labels: tuple[Pattern, ...] = Field(
        (),
        max_length=100,
        title="Labels",
        description="What the answer calls the choices, in their order, or one column of them. "
        "None: it says their text or number.",
    )
    score: Score = Field(
        "exact",
        title="Score",
        description="Choice: the likeliest of the choices. Exact, contains, numeric: the reply as "
        "a text, or its last number. Loss: only how likely the answer is.",
    )

    @model_validator(mode="before")
    @classmethod
    def _choices_are_chosen(cls, given: Any) -> Any:
        chosen = isinstance(given, dict) and given.get("choices")
        return {"score": "choice", **given} if chosen else given

    @field_validator("prompt")
    @classmethod
    def _asks(cls, prompt: str) -> str:
        if not columns_in(prompt):
            raise ValueError("it names no column, so that all rows would ask the same")
        return prompt

    @field_validator("labels")
    @classmethod
    def _names_choices(cls, labels: tuple[str, ...], info: Any) -> tuple[str, ...]:
        if labels and not info.data.get("choices"):
            raise ValueError("labels are names of choices, and there are none")
        return labels

    @field_validator("score")
    @classmethod
    def _fits_choices(cls, score: str, info: Any) -> str:
        if "choices" in info.data and (score == "choice") != bool(info.data["choices"]):
            raise ValueError(
                "choices are judged as choice alone"
                if score != "choice"
                else "there are no choices"
            )
        return score

    def columns(self) -> dict[str, list[str]]:
        """The columns that each field names."""
        fields = {"prompt": (self.prompt,), "answer": (self.answer,)}
        patterns = {**fields, "choices": self.choices, "labels": self.labels}
        return {
            field: [column for pattern in told for column in columns_in(pattern)]
            for field, told in patterns.items()
        }


@dataclass(frozen=True)
class Example:
    """What is made of a row.

    Attributes:
        answer: What is right; with choices it is one of them.
        held_out: Whether it is for testing alone.
    """

    row: Row
    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    held_out: bool = False


def examples_of(template: Template, table: Table) -> tuple[tuple[Example, ...], tuple[Fault, ...]]:
    """The examples of a table, and why other rows of it are none.

    Raises:
        DataError: the template names a column that the table lacks.
    """
    for field, wanted in template.columns().items():
        require_columns(wanted, table.columns, field)
    examples: list[Example] = []
    faults: list[Fault] = []
    for row in table.rows:
        try:
            examples.append(_example(template, row))
        except ValueError as error:
            faults.append(Fault(row.number, str(error)))
    return tuple(examples), tuple(faults)


def _example(template: Template, row: Row) -> Example:
    prompt = filled(template.prompt, row.cells).lstrip()
    said = filled(template.answer, row.cells)
    # How likely an answer is, is asked of it as it stands: a program begins with blanks.
    answer = said if template.score == "loss" else said.strip()
    if not prompt.rstrip():
        raise ValueError("its prompt is empty")
    if not answer.strip():
        raise ValueError("its answer is empty")
    if template.choices:
        choices = _choices(listed(template.choices, row.cells))
        labels = listed(template.labels, row.cells)
        return Example(row, prompt, choices[_right(answer, choices, labels)], choices)
    if template.score in JUDGES and not JUDGES[template.score](answer, answer):
        raise ValueError(f"its answer {answer[:80]!r} has no number")
    return Example(row, prompt, answer)


def _choices(texts: Sequence[str]) -> tuple[str, ...]:
    choices = tuple(text.strip() for text in texts)
    if len(choices) < 2:
        raise ValueError(f"it has {len(choices)} choices; at least 2 are needed")
    if not all(choices):
        raise ValueError("one of its choices is empty")
    if len(set(choices)) < len(choices):
        raise ValueError("two of its choices are the same")
    return choices


def _right(answer: str, choices: tuple[str, ...], labels: tuple[str, ...]) -> int:
    """Which of the choices the answer names: by label, or else by text, or else by number."""
    if labels and len(labels) < len(choices):
        raise ValueError(f"it has {len(choices)} choices but {len(labels)} labels")
    names = [name.strip() for name in labels or choices][: len(choices)]
    for said, known in ((answer, names), (answer.casefold(), [n.casefold() for n in names])):
        if said in known:
            return known.index(said)
    if labels:
        raise ValueError(f"its answer {answer[:80]!r} is none of the labels {', '.join(names)}")
    if len(choices) == len(TRUTH) and answer.casefold() in TRUTH:
        return TRUTH.index(answer.casefold())
    numbers = [str(number) for number in range(len(choices))]
    if answer in numbers:
        return numbers.index(answer)
    raise ValueError(
        f"its answer {answer[:80]!r} is none of its {len(choices)} choices, nor their number from "
        "0; say with labels what they are called"
    )
