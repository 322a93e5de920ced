"""What a template makes of the rows of a file, as the API tells it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from meshtune.backend.errors import InvalidConfig
from meshtune.backend.schemas.data import (
    PREVIEW_ROWS,
    SHOWN_MOST,
    CommonestOut,
    PreviewIn,
    PreviewOut,
    ReadyOut,
    RowOut,
    TemplateOut,
)
from meshtune.engine.config import plain_errors
from meshtune.engine.data.dataset import Dataset, dataset_of
from meshtune.engine.data.kept import NameTaken
from meshtune.engine.data.ready import READY, fitting, ready_template
from meshtune.engine.data.rows import DataError, NoColumn, Table, told
from meshtune.engine.data.splitting import Split
from meshtune.engine.data.template import Example, Template

NOTHING_FITS = "no published set has these columns; say what is asked with prompt and answer"
FIELDS = ("prompt", "answer", "choices", "labels", "score")


@contextmanager
def at_its_field(field: str) -> Iterator[None]:
    """Tell what is wrong with rows or a template at the field that should change."""
    try:
        yield
    except NameTaken:
        raise  # which has an answer of its own
    except NoColumn as error:
        raise InvalidConfig([(error.field, error.sentence)]) from error
    except DataError as error:
        raise InvalidConfig([(field, str(error))]) from error
    except ValidationError as error:
        raise InvalidConfig(plain_errors(error.errors(), Template)) from error


def preview_of(table: Table, asked: PreviewIn) -> PreviewOut:
    """The first rows of a table as prompts and answers, and what to know of all of them.

    Raises:
        InvalidConfig: the template or the split does not fit the rows.
    """
    split = Split(test_fraction=asked.test_fraction, column=asked.split)
    changes = {name: given for name in FIELDS if (given := getattr(asked, name)) is not None}
    if asked.template is None and not changes:
        return _what_fits(table, split)
    with at_its_field("template"):
        template = _wanted(asked.template, table, changes)
    with at_its_field("path"):
        found = dataset_of(table, template, split)
    return PreviewOut(**_known(table), **_used(asked.template, template), **_told(found))


def _what_fits(table: Table, split: Split) -> PreviewOut:
    """By the first published set with these columns that makes examples of the rows."""
    note = NOTHING_FITS
    for name in _fitting(table):
        template = ready_template(name, table.columns, {})
        try:
            found = dataset_of(table, template, split)
        except NoColumn as error:  # of the split: it is wrong whatever fits
            raise InvalidConfig([(error.field, error.sentence)]) from error
        except DataError as error:
            note = f"as rows of {READY[name].title} {error}"
        else:
            return PreviewOut(**_known(table), **_used(name, template), **_told(found))
    return PreviewOut(
        **_known(table),
        **dict.fromkeys(("template", "fields", "chance", "commonest")),
        **dict.fromkeys(("train", "test", "repeated", "leaks"), 0),
        rows=[],
        note=note,
        left_out=len(table.faults),
        faults=list(told(table.faults, table.unit)),
    )


def _wanted(name: str | None, table: Table, changes: dict[str, Any]) -> Template:
    if name is not None:
        return ready_template(name, table.columns, changes)
    return Template.model_validate(changes)


def _fitting(table: Table) -> list[str]:
    return [name for name in fitting(table.columns) if not READY[name].runs_code]


def _known(table: Table) -> dict[str, Any]:
    fit = _fitting(table)
    names = [*fit, *(name for name in READY if name not in fit and not READY[name].runs_code)]
    templates = [
        ReadyOut(
            name=name,
            title=READY[name].title,
            fits=name in fit,
            fields=_fields(ready_template(name, table.columns, {})),
        )
        for name in names
    ]
    return {
        "columns": list(table.columns),
        "unit": table.unit,
        "sha256": table.sha256,
        "templates": templates,
    }


def _used(name: str | None, template: Template) -> dict[str, Any]:
    return {"template": name, "fields": _fields(template), "note": None}


def _fields(template: Template) -> TemplateOut:
    return TemplateOut.model_validate({name: getattr(template, name) for name in FIELDS})


def _told(found: Dataset) -> dict[str, Any]:
    answer, share = found.commonest
    return {
        "rows": [_row(example) for example in found.examples[:PREVIEW_ROWS]],
        "train": len(found.train),
        "test": len(found.test),
        "left_out": len(found.faults),
        "faults": list(told(found.faults, found.unit)),
        "repeated": len(found.repeated),
        "leaks": len(found.across),
        "chance": found.chance,
        "commonest": CommonestOut(answer=_cut(answer), share=share),
    }


def _row(example: Example) -> RowOut:
    return RowOut(
        line=example.row.number,
        prompt=_cut(example.prompt),
        answer=_cut(example.answer),
        choices=[_cut(choice) for choice in example.choices],
        held_out=example.held_out,
    )


def _cut(text: str) -> str:
    if len(text) <= SHOWN_MOST:
        return text
    half = SHOWN_MOST // 2
    return f"{text[:half]} [... {len(text) - SHOWN_MOST} characters ...] {text[-half:]}"
