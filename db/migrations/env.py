"""Alembic's entry: runs the revisions on the connection of `meshtune.db.session.upgrade`."""

from typing import Any, Literal

from alembic import context

from meshtune.db import sweeps, tokens  # noqa: F401 - their tables are part of the metadata
from meshtune.db.columns import Instant, Number, Word
from meshtune.db.models import Base


def _render(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Revisions name plain types, so that they still run when a class of ours is gone."""
    if kind == "type" and isinstance(item, Instant | Number):
        return "sa.Double()"
    return "sa.String(length=16)" if kind == "type" and isinstance(item, Word) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    render_item=_render,
)
with context.begin_transaction():
    context.run_migrations()
