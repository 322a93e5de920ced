"""Your data: a file of rows becomes a task of the design, seen as the model will be asked it."""

import re
from itertools import count
from pathlib import PurePath
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import ValidationError

from meshtune.backend.schemas.data import PreviewOut
from meshtune.dashboard import door, state
from meshtune.dashboard.api.client import ApiProblem, api
from meshtune.dashboard.design import calls
from meshtune.dashboard.design.forms import Form
from meshtune.dashboard.design.tree import (
    Design,
    known_tasks,
    own_tasks,
    with_task,
    without_task,
)
from meshtune.dashboard.figures import html_table
from meshtune.dashboard.look import format as fmt
from meshtune.dashboard.look.words import word
from meshtune.engine.config import FileTask, plain_errors

ENDINGS = ["jsonl", "ndjson", "json", "csv", "tsv", "parquet"]
UPLOAD_MAX_MB = 64
NAMESAKES_MAX = 100
SHOWN_LETTERS = 400  # of a text in a row
OWN = "own"  # no published set
ADDED = "data-added"  # place of the session: how many tasks were made, so that each begins anew
TAKEN = "data-taken"  # and the upload that was seen last, with what was wrong with it
HIDDEN = frozenset({"path", "sha256"})  # follow from the file
STYLE = """<style>
.st-key-data-rows .mt-table { max-height: 460px; overflow-y: auto; }
.st-key-data-rows .mt-table td { white-space: pre-wrap; overflow-wrap: anywhere;
  vertical-align: top; }
.st-key-data-rows .mt-table th { vertical-align: top; }
.st-key-data-rows .mt-table td:nth-child(2) { white-space: nowrap; overflow-wrap: normal; }
.st-key-data-rows .mt-table td:nth-child(3) { min-width: 210px; }
.st-key-data-rows .mt-table td:nth-child(n + 4) { min-width: 90px; }
</style>"""


def section(design: Design, form: Form) -> None:
    """Own tasks of the design, each with the place of its errors, and the making of another."""
    for number, task in enumerate(own_tasks(design.tree)):
        name, path = (fmt.literal(str(task.get(each, ""))) for each in ("name", "path"))
        judged = word(task.get("score", "exact"), "score").lower()
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{name}** :gray[{path}, {fmt.literal(judged)}]", width="stretch")
            if st.button("Remove", key=f"data-remove-{number}-{design.version}"):
                design.restart(without_task(design.tree, number))
                st.rerun()
        form.slots[f"tasks.{number}"] = st.empty()
    form.slots["tasks"] = st.empty()
    _maker(design)


@st.fragment
def _maker(design: Design) -> None:
    """From a file to a task. What is typed here asks for no plan before the task is added."""
    made = st.session_state.setdefault(ADDED, 0)
    try:
        _bring(made)
        name = _choose(made)
        if name is None:
            return
        known = _preview(name, None)
        task, form = _fields(design, known, name, f"data-{made}-{name}")
        found, wrong = _judged(design, task)
    except ApiProblem as problem:
        state.show_problem(problem)
        return
    for _, message in form.show_errors(wrong):
        st.error(fmt.sentence(message), icon=":material/error:")
    if found is not None:
        _show(found)
    if st.button(
        "Add as a task",
        type="primary",
        icon=":material/add:",
        key=f"data-add-{made}",
        disabled=bool(wrong),
    ):
        pinned = FileTask.model_validate({**task, "sha256": known.sha256})
        design.restart(with_task(design.tree, pinned.model_dump(mode="json")))
        st.session_state[ADDED] = made + 1
        st.rerun()


def _bring(made: int) -> None:
    """Take a file from the browser, once, and choose it."""
    given = st.file_uploader(
        "Bring a file of rows",
        type=ENDINGS,
        key=f"data-upload-{made}",
        max_upload_size=UPLOAD_MAX_MB,
        help="JSON lines, CSV or Parquet, with prompts and answers in columns. It is kept on the "
        "machine of the lab, in `data/` of the state folder.",
        disabled=not door.may("run"),
    )
    if given is None:
        return
    taken = st.session_state.get(TAKEN)
    if taken is None or taken[0] != given.file_id:
        sentence = _kept(given.name, given.getvalue(), made)
        taken = st.session_state[TAKEN] = (given.file_id, sentence)
    if taken[1]:
        st.error(fmt.sentence(taken[1]), icon=":material/error:")


def _kept(name: str, content: bytes, made: int) -> str | None:
    """Keep a file under the first name that is free; gives what is wrong with it."""
    for number in range(1, NAMESAKES_MAX):
        try:
            kept = calls.keep_file(api(), file_name(name, number), content)
        except ApiProblem as problem:
            if problem.error == "NameTaken":
                continue
            state.to_the_door(problem)
            return next(iter(problem.fields.values()), problem.detail)
        st.session_state[_file_key(made)] = kept.name
        return None
    return f"there are {NAMESAKES_MAX} files called {name} already; give this one another name"


def file_name(name: str, number: int) -> str:
    """A name that the folder takes; from the second on with a number before its ending."""
    path = PurePath(re.sub(r"[^\w .()-]", "_", name, flags=re.ASCII).lstrip("_ .()-") or "rows")
    told = f" ({number})" if number > 1 else ""
    return f"{path.stem[:80]}{told}{path.suffix[:12]}"


def _choose(made: int) -> str | None:
    names = [file.name for file in calls.files(api())]
    if not names:
        return None
    return st.selectbox(
        "File",
        names,
        index=None,
        placeholder="Choose one that is here already",
        key=_file_key(made),
    )


def _file_key(made: int) -> str:
    return f"data-file-{made}"


@st.cache_data(max_entries=64, ttl=60, show_spinner=False)
def _preview(name: str, asked: dict[str, Any] | None) -> PreviewOut:
    return calls.preview(api(), name, **(asked or {}))


def _fields(
    design: Design, known: PreviewOut, name: str, prefix: str
) -> tuple[dict[str, Any], Form]:
    """Template and fields of the task, as a tree, and the form that has them."""
    ready = {each.name: each for each in known.templates}
    fit = [each.name for each in known.templates if each.fits]
    options = [*fit, OWN, *(each for each in ready if each not in fit)]
    chosen = st.selectbox(
        "Template",
        options,
        index=options.index(known.template or OWN),
        format_func=lambda each: ready[each].title if each in ready else "My own",
        key=f"{prefix}:template",
        help="Columns and wording of a published data set; those that fit the file come first. "
        "Every field can be changed.",
    )
    if known.note and chosen == OWN:
        st.caption(fmt.sentence(known.note))
    st.caption(f"Columns: {fmt.literal(', '.join(known.columns))}")
    begun = ready[chosen].fields.model_dump() if chosen in ready else own_template(known.columns)
    task = {**begun, "name": proposed(name, known_tasks(design.tree)), "path": name, "sha256": ""}
    prefix = f"{prefix}-{chosen}"
    typed = st.session_state.get(f"{prefix}:choices", "\n".join(task["choices"]))
    if typed.strip():
        hidden, task["score"] = HIDDEN | {"score"}, "choice"
    else:
        hidden, task["labels"] = HIDDEN | {"labels"}, []
        task["score"] = "exact" if task["score"] == "choice" else task["score"]
    form = Form(prefix=prefix, hidden=hidden)
    return form.scalars(FileTask, task), form


def own_template(columns: list[str]) -> dict[str, Any]:
    """A beginning: the first column asks, the last one answers."""
    first, last = columns[0], columns[-1]
    return {
        "prompt": f"{{{first}}}",
        "answer": f"{{{last}}}",
        "choices": [],
        "labels": [],
        "score": "exact",
    }


def proposed(file: str, known: tuple[str, ...]) -> str:
    """A name for the task of a file that no other task has."""
    stem = re.sub(r"[^a-z0-9]+", "_", PurePath(file).stem.lower()).strip("_")
    plain = (stem if stem[:1].isalpha() else f"data_{stem}".rstrip("_"))[:36]
    numbered = (plain if number == 1 else f"{plain}_{number}" for number in count(1))
    return next(name for name in numbered if name not in known)


def _judged(
    design: Design, task: dict[str, Any]
) -> tuple[PreviewOut | None, list[tuple[str, str]]]:
    """What the rows become, and what is wrong with the fields."""
    if task["name"] in known_tasks(design.tree):
        return None, [("name", "there is a task of this name already; choose another name")]
    try:
        checked = FileTask.model_validate(task)
    except ValidationError as error:
        return None, plain_errors(error.errors(), FileTask)
    asked = checked.model_dump(
        mode="json",
        include={"prompt", "answer", "choices", "labels", "score", "test_fraction", "split"},
    )
    try:
        return _preview(checked.path, asked), []
    except ApiProblem as problem:
        if not problem.fields:
            raise
        return None, list(problem.fields.items())


def _show(found: PreviewOut) -> None:
    """The first rows, how many there are on each side, and what is wrong with others."""
    st.markdown(
        f"**{fmt.count(found.train, 'row')} to train on, {found.test} held out for testing**, "
        f"{found.left_out} left out"
    )
    st.caption(blind(found))
    with st.container(key="data-rows"):
        st.html(html_table.STYLE + STYLE + html_table.html_table(rows(found), "The first rows"))
    if found.faults:
        told = "\n".join(f"- {fmt.sentence(each)}" for each in found.faults)
        st.warning(f"Left out:\n{told}", icon=":material/rule:")
    if found.leaks:
        st.warning(
            f"{fmt.count(found.leaks, 'prompt')} stand on both sides of the split: what they "
            "score tells nothing.",
            icon=":material/rule:",
        )
    elif found.repeated:
        st.caption(f"{fmt.count(found.repeated, 'row')} ask what an earlier one asks.")


def blind(found: PreviewOut) -> str:
    """What one scores without reading the prompt."""
    parts = [] if found.chance is None else [f"{fmt.percent(found.chance)} by guessing"]
    if found.commonest is not None:
        said = fmt.literal(short(found.commonest.answer, 40))
        parts.append(f"{fmt.percent(found.commonest.share)} by always saying *{said}*")
    return f"One scores {', '.join(parts)}."


def rows(found: PreviewOut) -> pd.DataFrame:
    """The rows as a table of texts."""
    table = pd.DataFrame(
        {
            found.unit.capitalize(): [str(row.line) for row in found.rows],
            "For": ["testing" if row.held_out else "training" for row in found.rows],
            "Prompt": [short(row.prompt) for row in found.rows],
            "Answer": [short(row.answer) for row in found.rows],
            "Choices": [short(" | ".join(row.choices)) for row in found.rows],
        }
    )
    return table if any(row.choices for row in found.rows) else table.drop(columns="Choices")


def short(text: str, most: int = SHOWN_LETTERS) -> str:
    """The text, cut in its middle if it is long: its end asks."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} … {text[-(most // 2) :]}"
