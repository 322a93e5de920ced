"""Templates of data sets that are published, by the columns that their files have.

The columns are those of the data sets; the wording of the prompts is ours. Where a set is
published in more than one form, the first that fits the columns of a file is taken.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshtune.engine.data.rows import DataError
from meshtune.engine.data.template import NO_CODE, Template

YES_NO = ("no", "yes")
PASSAGE = "{passage}\nquestion: {question}?\nanswer:"
ARC = Template(
    prompt="question: {question}\nanswer:",
    answer="{answerKey}",
    choices=("{choices.text}",),
    labels=("{choices.label}",),
)
ARC_AS_FIRST_PUBLISHED = Template(
    prompt="question: {question.stem}\nanswer:",
    answer="{answerKey}",
    choices=("{question.choices.text}",),
    labels=("{question.choices.label}",),
)
PROGRAM = "# {%s}\n"


@dataclass(frozen=True)
class Ready:
    """A published data set.

    Attributes:
        forms: Its template for each form in which it is published.
        runs_code: Whether those who published it judge answers by running them.
    """

    title: str
    forms: tuple[Template, ...]
    runs_code: bool = False


READY: Mapping[str, Ready] = {
    "boolq": Ready(
        "BoolQ",
        (
            Template(prompt=PASSAGE, answer="{answer}", choices=YES_NO),
            Template(prompt=PASSAGE, answer="{label}", choices=YES_NO),
        ),
    ),
    "piqa": Ready(
        "PIQA",
        (
            Template(
                prompt="goal: {goal}\nsolution:",
                answer="{label}",
                choices=("{sol1}", "{sol2}"),
                labels=("0", "1"),
            ),
        ),
    ),
    "social_iqa": Ready(
        "SocialIQA",
        (
            Template(
                prompt="{context}\nquestion: {question}\nanswer:",
                answer="{label}",
                choices=("{answerA}", "{answerB}", "{answerC}"),
                labels=("1", "2", "3"),
            ),
        ),
    ),
    "gsm8k": Ready(
        "GSM8K",
        (Template(prompt="question: {question}\nanswer:", answer="{answer}", score="numeric"),),
    ),
    "arc_easy": Ready("ARC, easy", (ARC, ARC_AS_FIRST_PUBLISHED)),
    "arc_challenge": Ready("ARC, challenge", (ARC, ARC_AS_FIRST_PUBLISHED)),
    "hellaswag": Ready(
        "HellaSwag",
        (
            Template(
                prompt="{activity_label}: {ctx}",
                answer="{label}",
                choices=("{endings}",),
                labels=("0", "1", "2", "3"),
            ),
        ),
    ),
    "dolly": Ready(
        "Dolly 15k",
        (
            Template(
                prompt="{context}\n\ninstruction: {instruction}\nresponse:",
                answer="{response}",
                score="loss",
            ),
        ),
    ),
    "scienceqa": Ready(
        "ScienceQA, without pictures",
        (
            Template(
                prompt="{hint}\nquestion: {question}\nanswer:",
                answer="{answer}",
                choices=("{choices}",),
                labels=("0", "1", "2", "3", "4"),
            ),
        ),
    ),
    "humaneval": Ready(
        "HumanEval",
        (Template(prompt="{prompt}", answer="{canonical_solution}", score="loss"),),
        runs_code=True,
    ),
    "mbpp": Ready(
        "MBPP",
        (
            Template(prompt=PROGRAM % "text", answer="{code}", score="loss"),
            Template(prompt=PROGRAM % "prompt", answer="{code}", score="loss"),
        ),
        runs_code=True,
    ),
}


def ready_template(name: str, columns: Sequence[str], changes: Mapping[str, Any]) -> Template:
    """The template of a published set for a file with these columns.

    Args:
        name: Of the set, a key of `READY`.
        columns: Of the file.
        changes: Fields that shall differ from the published ones.

    Raises:
        DataError: there is no such set, or its answers would have to be run.
        ValidationError: the changes do not fit.
    """
    if name not in READY:
        near = difflib.get_close_matches(name.casefold(), list(READY), n=1)
        meant = f"did you mean {near[0]}? The" if near else "the"
        raise DataError(
            f"there is no template {name[:80]!r}; {meant} templates are {', '.join(READY)}"
        )
    ready = READY[name]
    if ready.runs_code and "score" not in changes:
        raise DataError(f"{ready.title} asks for programs that are run, but {NO_CODE}")
    form = next((each for each in ready.forms if _fits(each, columns)), ready.forms[0])
    return Template.model_validate({**form.model_dump(), **changes}) if changes else form


def fitting(columns: Sequence[str]) -> list[str]:
    """The published sets whose columns are all among these."""
    return [
        name for name, ready in READY.items() if any(_fits(form, columns) for form in ready.forms)
    ]


def _fits(template: Template, columns: Sequence[str]) -> bool:
    named = {column for wanted in template.columns().values() for column in wanted}
    return named <= set(columns)
