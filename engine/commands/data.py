"""`meshtune data`: what a file of rows would be trained on, before anything is trained."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshtune.engine.errors import EngineError

if TYPE_CHECKING:
    from meshtune.engine.data.dataset import Dataset
    from meshtune.engine.data.rows import Table
    from meshtune.engine.data.template import Example, Template

app = typer.Typer(
    help="Look at files of rows: yours, or a published data set.",
    no_args_is_help=True,
    add_completion=False,
)

EXIT_BAD_DATA = 1
SHOWN_MAX = 600  # characters of a text
PAIRS_SHOWN = 5
WORD_WIDTH = 11  # of what stands before a text
LEAK = "these prompts are trained on and tested: what they score tells nothing"

BARS, BAR = "█▒▓░", 40  # a bar has one sign per task, and at most so many characters

Many = list[str] | None


@app.command()
def templates() -> None:
    """List the published data sets that have a template, and the columns of their files."""
    from meshtune.engine.data.ready import READY

    for name, ready in READY.items():
        code = (
            " (asks for programs that are run: only with --score loss)" if ready.runs_code else ""
        )
        print(f"{name}: {ready.title}{code}")
        for form in ready.forms:
            named = [column for columns in form.columns().values() for column in columns]
            print(f"  {', '.join(dict.fromkeys(named))}")


@app.command()
def show(  # noqa: PLR0913 - one per option
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, CSV or Parquet.")],
    template: Annotated[
        str | None,
        typer.Option(help="Of a published data set; meshtune data templates lists them."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="What is asked: {column} is a cell, \\n a new line.")
    ] = None,
    answer: Annotated[str | None, typer.Option(help="What is right, as --prompt.")] = None,
    choices: Annotated[
        Many,
        typer.Option(help="One of the answers to choose from, or a column of them; repeat it."),
    ] = None,
    labels: Annotated[
        Many, typer.Option(help="What the answer calls the choices, in order; may be repeated.")
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="choice, exact, contains, numeric or loss.")
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="COLUMN", help="A column that says train or test.")
    ] = "",
    test_share: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share for testing, without --split.")
    ] = 0.2,
    rows: Annotated[int, typer.Option(min=0, max=1_000, help="How many rows are shown.")] = 10,
) -> None:
    """Show rows as prompt and answer, and what is wrong with others.

    Exit codes: 0 there are rows to use, 1 there are none or the template does not fit.
    """
    given = {
        "prompt": _with_lines(prompt),
        "answer": _with_lines(answer),
        "choices": choices,
        "labels": labels,
        "score": score,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        found = _taken(file, template, changes, split, test_share)
    except EngineError as error:
        print(_visible(str(error)), file=sys.stderr)
        raise typer.Exit(EXIT_BAD_DATA) from error
    for example in found.examples[:rows]:
        print("\n".join(_told_example(example, found.unit)), end="\n\n")
    print("\n".join(_told_dataset(found)))


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, CSV or Parquet.")],
) -> None:
    """Copy a file to data/ of the state folder, where configs name it without its folder.

    Exit codes: 0 it is there, 1 it cannot be used or another one has its name.
    """
    from meshtune.engine.data.kept import keep
    from meshtune.engine.data.reading import read_table

    try:
        table = read_table(file)
        kept = keep(file.name, file.read_bytes())
    except EngineError as error:
        print(_visible(str(error)), file=sys.stderr)
        raise typer.Exit(EXIT_BAD_DATA) from error
    print(_visible(f"{kept.absolute()}: rows {len(table.rows)}; name it {kept.name} in [[tasks]]"))


@app.command()
def generate(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Of a generator; all are listed without.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
) -> None:
    """Write rows of a generator of reasoning-gym to data/ of the state folder.

    Exit codes: 0 they are there, 1 there is no such generator or it is not installed.
    """
    from meshtune.engine.data.generated import generated, generator_names
    from meshtune.engine.data.kept import keep

    try:
        if name is None:
            print("\n".join(generator_names()))
            return
        content = generated(name, rows, seed)
        kept = keep(f"{name}-{rows}-{seed}.jsonl", content)
    except EngineError as error:
        print(_visible(str(error)), file=sys.stderr)
        raise typer.Exit(EXIT_BAD_DATA) from error
    count = content.count(b"\n")
    print(_visible(f"{kept.absolute()}: rows {count}; name it {kept.name} in [[tasks]]"))


@app.command()
def deal(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="One per task.")],
    devices: Annotated[int, typer.Option(min=1, max=10_000, help="How many devices.")] = 10,
    by: Annotated[str, typer.Option(help="one_task, dirichlet or quantity.")] = "one_task",
    alpha: Annotated[
        float, typer.Option(min=0.01, max=1e6, help="Of dirichlet and quantity: small is uneven.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
) -> None:
    """Show how many rows of each file every device would hold.

    Exit codes: 0 it is shown, 1 a file cannot be used or there is no such rule.
    """
    try:
        print("\n".join(_told_deal(files, devices, by, alpha, seed)))
    except EngineError as error:
        print(_visible(str(error)), file=sys.stderr)
        raise typer.Exit(EXIT_BAD_DATA) from error


def _told_deal(files: list[Path], devices: int, by: str, alpha: float, seed: int) -> Iterator[str]:
    """A line per device: its rows of every file, and a bar of them."""
    from meshtune.engine.data.partition import PARTITIONS, dealt
    from meshtune.engine.data.reading import read_table
    from meshtune.engine.data.rows import DataError

    if by not in PARTITIONS:
        raise DataError(f"there is no rule {by[:80]!r}; rules are {', '.join(PARTITIONS)}")
    rule = PARTITIONS[by](**({} if by == "one_task" else {"alpha": alpha}))
    held = dealt(rule, devices, tuple(len(read_table(file).rows) for file in files), seed).tolist()
    names = [f"{BARS[at % len(BARS)]} {file.stem}" for at, file in enumerate(files)]
    yield _visible("  ".join(["device", *names]))
    most = max(1, *map(sum, held))
    for device, counts in enumerate(held):
        cells = [f"{count:>{len(name)}}" for name, count in zip(names, counts, strict=True)]
        bar = [BARS[at % len(BARS)] * round(BAR * n / most) for at, n in enumerate(counts)]
        yield _visible("  ".join([f"{device:>6}", *cells, "".join(bar)]))


def _with_lines(pattern: str | None) -> str | None:
    """A pattern with the new lines that a person wrote as shells pass them on."""
    return None if pattern is None else pattern.replace("\\n", "\n")


def _taken(
    file: Path, name: str | None, changes: dict[str, Any], column: str, test_fraction: float
) -> "Dataset":
    from pydantic import ValidationError

    from meshtune.engine.config import plain_errors
    from meshtune.engine.data.dataset import dataset_of
    from meshtune.engine.data.reading import read_table
    from meshtune.engine.data.rows import DataError
    from meshtune.engine.data.splitting import Split

    table = read_table(file)
    try:
        split = Split(column=column, test_fraction=test_fraction)
        template = _template(table, name, changes)
    except ValidationError as error:
        found = plain_errors(error.errors())
        raise DataError("\n".join(f"{field}: {said}" for field, said in found)) from error
    return dataset_of(table, template, split)


def _template(table: "Table", name: str | None, changes: dict[str, Any]) -> "Template":
    from meshtune.engine.data.patterns import shown_columns
    from meshtune.engine.data.ready import fitting, ready_template
    from meshtune.engine.data.rows import DataError
    from meshtune.engine.data.template import Template

    if name is not None:
        return ready_template(name, table.columns, changes)
    if "prompt" in changes:
        return Template.model_validate(changes)
    ways = [f"--template {name}" for name in fitting(table.columns)]
    raise DataError(
        f"say what is asked with {' or '.join([*ways, '--prompt and --answer'])}; the columns are "
        f"{shown_columns(table.columns)}"
    )


def _told_example(example: "Example", unit: str) -> Iterator[str]:
    yield f"{unit} {example.row.number}, for {'testing' if example.held_out else 'training'}"
    yield from _told("prompt", example.prompt)
    yield from _told("answer", example.answer)
    if example.choices:
        yield from _told("choices", " | ".join(example.choices))


def _told_dataset(found: "Dataset") -> Iterator[str]:
    """What to know of all rows together."""
    from meshtune.engine.data.rows import told

    yield from _told("rows", f"{len(found.train)} for training, {len(found.test)} for testing")
    left_out = [str(len(found.faults)), *told(found.faults, found.unit)]
    yield from _told("left out", "\n".join(left_out))
    yield from _told("repeated", _pairs(found.repeated, found.unit))
    if found.across:
        yield from _told("leaks", f"{_pairs(found.across, found.unit)}\n{LEAK}")
    longest = found.longest
    where = f"{found.unit} {longest.row.number}"
    yield from _told("longest", f"{len(longest.prompt)} characters of prompt, {where}")
    yield from _told("guess", _guess(found))
    yield from _told("sha256", found.sha256)


def _pairs(pairs: "tuple[tuple[Example, Example], ...]", unit: str) -> str:
    """How many rows ask what an earlier one asks, and the first of them."""
    shown = [
        f"{unit} {later.row.number} asks what {unit} {first.row.number} asks"
        for first, later in pairs[:PAIRS_SHOWN]
    ]
    more = [f"and {len(pairs) - PAIRS_SHOWN} more"] if len(pairs) > PAIRS_SHOWN else []
    return "\n".join([str(len(pairs)), *shown, *more])


def _guess(found: "Dataset") -> str:
    answer, share = found.commonest
    always = f"{100.0 * share:.1f} % if one always says {_visible(answer)[:40]!r}"
    blind = "" if found.chance is None else f"{100.0 * found.chance:.1f} % if one guesses blindly, "
    return blind + always


def _told(word: str, text: str) -> Iterator[str]:
    """A text behind its word, each of its lines indented."""
    first, *more = _visible(text).split("\n")
    yield f"  {word:{WORD_WIDTH}}{first}"
    yield from (f"  {'':{WORD_WIDTH}}{line}" for line in more)


def _visible(text: str) -> str:
    """The text without what moves a terminal, shortened in the middle."""
    if len(text) > SHOWN_MAX:
        half = SHOWN_MAX // 2
        text = f"{text[:half]} [... {len(text) - SHOWN_MAX} characters ...] {text[-half:]}"
    shown = "".join(
        each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text
    )
    encoding = sys.stdout.encoding or "utf-8"  # of a terminal that may not know all letters
    return shown.encode(encoding, "replace").decode(encoding)
