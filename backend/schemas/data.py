"""The wire contract of files of rows. Light, so that the dashboard shares it."""

from typing import Annotated

from pydantic import Field

from meshtune.backend.schemas.runs import Wire
from meshtune.engine.fields import Finite

PREVIEW_ROWS = 10
SHOWN_MOST = 2_000  # characters of a text
Column = Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(max_length=20_000)]


class FileOut(Wire):
    """A file in data/ of the state folder."""

    name: str
    bytes: int


class PreviewIn(Wire):
    """A file, and how its rows become prompts and answers; of neither, what fits its columns."""

    path: str = Field(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00]*$",
        description="Name of a file in data/, or a whole path",
    )
    template: str | None = Field(
        None, max_length=80, description="A published set; the fields below change it"
    )
    prompt: Text | None = None
    answer: Text | None = None
    choices: list[Text] | None = Field(None, max_length=100)
    labels: list[Text] | None = Field(None, max_length=100)
    score: str | None = Field(None, max_length=20)
    test_fraction: Finite = Field(0.2, ge=0.0, lt=1.0)
    split: Column = ""


class TemplateOut(Wire):
    """A template, as the fields of a task have it."""

    prompt: str
    answer: str
    choices: list[str]
    labels: list[str]
    score: str


class ReadyOut(Wire):
    """The template of a published set, in the form that is nearest to the columns of a file."""

    name: str
    title: str
    fits: bool = Field(description="Whether the file has every column that it names")
    fields: TemplateOut


class RowOut(Wire):
    """A row as it would be asked; long texts are cut."""

    line: int
    prompt: str
    answer: str
    choices: list[str]
    held_out: bool


class CommonestOut(Wire):
    """The answer that most rows have."""

    answer: str
    share: float


class PreviewOut(Wire):
    """What a template makes of a file."""

    columns: list[str]
    unit: str = Field(description="What rows are counted in: line or row")
    sha256: str
    templates: list[ReadyOut] = Field(description="Those that fit come first")
    template: str | None = Field(description="The published set that was used; None for an own one")
    fields: TemplateOut | None = Field(description="What was used; None if nothing fits")
    note: str | None = Field(description="Why there are no rows; None if there are")
    rows: list[RowOut] = Field(description=f"The first {PREVIEW_ROWS}")
    train: int
    test: int
    left_out: int
    faults: list[str] = Field(description="Why the first of them are left out, by line")
    repeated: int = Field(description="Rows that ask what an earlier one asks")
    leaks: int = Field(description="Of these, those on the other side of the split")
    chance: float | None = Field(description="Accuracy of a blind guess among the choices")
    commonest: CommonestOut | None
