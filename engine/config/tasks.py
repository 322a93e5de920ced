"""Tasks that a run brings along: rows of a file as prompts and answers."""

import re
from typing import Annotated, Any

from pydantic import Field

from meshtune.engine.config.model import SEEN_ONLY
from meshtune.engine.data.splitting import Split
from meshtune.engine.data.template import Template
from meshtune.engine.fields import Finite, Sha256
from meshtune.engine.tasks.kind import NAME


class FileTask(Template):
    """A task made of a file of rows."""

    name: str = Field(
        max_length=40,
        pattern=NAME,
        title="Name",
        description="What fleet.tasks, records and legends call it.",
    )
    path: str = Field(
        min_length=1,
        max_length=500,
        pattern=SEEN_ONLY,
        title="File",
        description="JSON lines, CSV or Parquet: its whole path, or its name below data/ of the "
        "state folder.",
    )
    sha256: Sha256 = Field(
        "",
        title="Hash of the file",
        description="SHA-256 that the file must have, in hex; empty takes any.",
    )
    test_fraction: Annotated[Finite, Field(ge=0.0, lt=1.0)] = Field(
        0.2,
        title="Share for testing",
        description="By a hash of the prompt: the same rows are held out in all runs.",
    )
    split: str = Field(
        "",
        max_length=200,
        title="Column of the split",
        description="Says train, or test, validation or dev. Empty: the hash decides.",
    )
    tokens: int = Field(
        256,
        ge=16,
        le=8192,
        title="Tokens at most",
        description="Of a prompt with its answer; longer prompts lose their begin.",
    )

    def sides(self) -> Split:
        """How its rows part into those to train on and those to test with."""
        return Split(test_fraction=self.test_fraction, column=self.split)


def is_none(tasks: tuple[FileTask, ...]) -> bool:
    """Whether a config brings no task along, which leaves its text as it was before it could."""
    return not tasks


def held_by_default(tree: Any) -> Any:
    """The tree of a config whose devices hold the tasks that it brings, if it says nothing else."""
    brought = tree.get("tasks") if isinstance(tree, dict) else None
    fleet = tree.get("fleet") or {} if brought else None
    if not isinstance(brought, list | tuple) or not isinstance(fleet, dict) or "tasks" in fleet:
        return tree
    names = [
        each.get("name") if isinstance(each, dict) else getattr(each, "name", None)
        for each in brought
    ]
    if not all(isinstance(name, str) and re.fullmatch(NAME, name) for name in names):
        return tree  # what is wrong is said at the task
    return {**tree, "fleet": {**fleet, "tasks": names}}
