"""Alembic's entry: runs the revisions on the connection that `db.session.upgrade` hands over."""

from typing import Any, Literal

from alembic import context

from db import sweeps, tokens  # noqa: F401 - their tables are part of the metadata
from db.models import Base, Instant


def _render(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Revisions name plain types, so that they still run when a class of ours is gone."""
    return "sa.Double()" if kind == "type" and isinstance(item, Instant) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    render_item=_render,
)
with context.begin_transaction():
    context.run_migrations()
