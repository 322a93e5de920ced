"""Which files of rows a caller may name: those that were kept here, or any with scope admin."""

from starlette.requests import Request

from meshtune.backend.errors import InvalidConfig
from meshtune.db.scopes import Scope
from meshtune.engine.config import RunConfig
from meshtune.engine.data.kept import NAME

WHOLE_PATH = "a whole path takes a token of scope admin; name a file of data/"


def require_kept(request: Request, named: dict[str, str]) -> None:
    """Refuse paths outside of data/, whose content sentences and samples would tell.

    Args:
        request: of a caller who was asked for a token, or of anyone where none is asked for.
        named: paths by the field that names them.

    Raises:
        InvalidConfig: one lies outside, and the caller may not do all.
    """
    bearer = getattr(request.state, "bearer", None)
    if bearer is None or bearer.scope.covers(Scope.ADMIN):
        return
    outside = [field for field, path in named.items() if not NAME.fullmatch(path.strip())]
    if outside:
        raise InvalidConfig([(field, WHOLE_PATH) for field in outside])


def require_kept_rows(request: Request, config: RunConfig) -> None:
    """The same of all tasks that a config brings along."""
    require_kept(
        request, {f"tasks.{number}.path": task.path for number, task in enumerate(config.tasks)}
    )
