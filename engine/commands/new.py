"""`meshtune new`: the beginning of an extension, which works as it is written."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from meshtune.engine.errors import EngineError

app = typer.Typer(help="Begin an extension.", no_args_is_help=True, add_completion=False)

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
REGISTRY = Path("engine/methods/registry.py")
DOCS = Path("docs/methods.md")
ROWS = Path("tests/unit/engine/test_method_matrix.py")
LAST_BUILT_IN = '    "local",\n)'
LAST_ROW = '    Arm("local"'

INIT = '''"""{title}: say in one line what it does."""

from meshtune.engine.methods.{name}.config import {part}
from meshtune.engine.methods.kind import Look, MethodKind, never

METHOD = MethodKind(
    config={part},
    costs="meshtune.engine.methods.{name}.costs:costs",
    rules="meshtune.engine.methods.{name}.rules:{part}Rules",
    look=Look(title="{title}", short="{title}", color=None, dash="solid"),
    averaging="directed",
    needs_mesh=True,
    whole=False,
    names_places=False,
    free_start=True,
    deals_by_cluster=never,
)
'''
CONFIG = '''"""Config of {title}."""

from typing import Literal

from pydantic import Field

from meshtune.engine.fields import OUR_CHOICE, unit
from meshtune.engine.methods.kind import MethodPart


class {part}(MethodPart):
    """{title}: both factors are averaged with the neighbours that were heard, now and then."""

    kind: Literal["{name}"] = "{name}"
    every: int = Field(
        5,
        ge=1,
        le=10_000,
        title="Exchange",
        description="Every so many rounds devices send their adapter.",
        json_schema_extra={{**unit("rounds"), **OUR_CHOICE}},
    )
'''
COSTS = '''"""What {title} costs."""

from meshtune.engine.methods.{name}.config import {part}
from meshtune.engine.methods.shared.facts import both_factors
from meshtune.engine.methods.terms import Costs, Terms


def costs(rule: {part}, terms: Terms) -> Costs:
    """A and B over every link, in the last of every `every` rounds."""
    return both_factors(terms, every=rule.every)
'''
RULES = '''"""{title}: say where it comes from, in full, and where it deviates.

Source: authors, "title" (venue or arXiv number, year).
"""

from dataclasses import dataclass

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.mesh import Mesh
from meshtune.engine.methods.rules import Heard, Memory, PlainMethod
from meshtune.engine.methods.shared.averaging import averaged, averaging_start


@dataclass(frozen=True)
class {part}Rules(PlainMethod):
    """A <- sum_j w_ij A_j and B <- sum_j w_ij B_j with the weights of the run (M6, M27, M28).

    Sends what `costs` says. Memory: that of `averaging_start`.
    """

    def start(self) -> tuple[Adapters, Memory]:
        start, _ = super().start()
        return start, averaging_start(self.setup, start)

    def combine(
        self, trained: Adapters, memory: Memory, mesh: Mesh, heard: Heard, round_index: int
    ) -> tuple[Adapters, Memory]:
        return averaged(self.setup, trained, memory, heard)
'''
PRESET = """# {title}.
# Command: meshtune run {name}
[about]
group = "The paper's comparison"
title = "{title}"
question = "What do you ask of it?"
watch = "What is to be seen?"
duration = "about 30 s on 2 cores"

[config]
name = "{title}"
seed = 7
rounds = 12

[config.fleet]
devices = 16
train_samples = 1000

[config.topology]
kind = "random"
radius_m = 300.0
degree = 4

[config.method]
kind = "{name}"

[config.training]
local_steps = 10
batch_size = 8

[config.evaluation]
samples_per_task = 16
"""
HEADING = """
## {name}
Idea and source. **Bits: q (nA + nB)** per link, every fifth round. When it fails.
"""
ROW = '    Arm("{name}", METHODS["{name}"].default(), BOTH_FACTORS),\n'
FILES = {
    "engine/methods/{name}/__init__.py": INIT,
    "engine/methods/{name}/config.py": CONFIG,
    "engine/methods/{name}/costs.py": COSTS,
    "engine/methods/{name}/rules.py": RULES,
    "engine/presets/{name}.toml": PRESET,
}
NEXT = (
    "Next: write what it does into these files, then `make golden`, `make results ARGS={name}`, "
    "`make check` and `make test`."
)


class NotBegun(EngineError):
    """An extension cannot be begun here."""


@app.callback()
def _begin() -> None:
    """Begin an extension."""


@app.command()
def method(
    name: Annotated[str, typer.Argument(help="In lower case with underscores, e.g. my_method.")],
    root: Annotated[Path, typer.Option("--in", help="A checkout of the repository.")] = Path(),
) -> None:
    """Write a method that works: its folder, its preset, its row in the tests, its heading."""
    for path in begin_method(name, root):
        typer.echo(path)
    typer.echo(NEXT.format(name=name))


def begin_method(name: str, root: Path) -> Iterator[Path]:
    """The files of a new method, as they are written.

    Raises:
        NotBegun: the name does not fit or is taken, or `root` is no checkout; nothing is written.
    """
    _require_free(name, root)
    words = {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "part": "".join(word.capitalize() for word in name.split("_")),
    }
    files = {root / place.format(**words): text.format(**words) for place, text in FILES.items()}
    for path, text in (files | _extended(root, words)).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        yield path


def _require_free(name: str, root: Path) -> None:
    if not NAME.fullmatch(name):
        raise NotBegun(f"{name!r} is no name: use lower case, digits and underscores")
    missing = [place for place in (REGISTRY, DOCS, ROWS) if not (root / place).is_file()]
    if missing:
        raise NotBegun(f"there is no {missing[0]} in {root.resolve()}; name a checkout with --in")
    if (root / REGISTRY.parent / name).exists():
        raise NotBegun(f"there is a method {name!r} already; choose another name")


def _extended(root: Path, words: dict[str, str]) -> dict[Path, str]:
    """What the files that list all methods hold with a new one."""
    docs = (root / DOCS).read_text(encoding="utf-8")
    return {
        root / REGISTRY: _inserted(root / REGISTRY, LAST_BUILT_IN, f'    "{words["name"]}",\n'),
        root / ROWS: _inserted(root / ROWS, LAST_ROW, ROW.format(**words)),
        root / DOCS: docs + HEADING.format(**words),
    }


def _inserted(path: Path, before: str, text: str) -> str:
    """The text of a file with `text` before a place in it."""
    whole = path.read_text(encoding="utf-8")
    if before not in whole:
        raise NotBegun(f"{path} has no place for a row: {before.strip()!r} is not in it")
    return whole.replace(before, text + before, 1)
