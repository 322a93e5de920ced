"""Who asks, for pages that show only what the caller may do."""

from fastapi import APIRouter, Request

from meshtune.backend.schemas.runs import SessionOut
from meshtune.db.scopes import Scope
from meshtune.db.tokens import Bearer

router = APIRouter(prefix="/session", tags=["session"])


@router.get("")
def session(request: Request) -> SessionOut:
    """The name and scope of the token; status 401 where one is asked for and this is none."""
    bearer: Bearer | None = getattr(request.state, "bearer", None)
    if bearer is None:
        return SessionOut(name=None, scope=Scope.ADMIN.value)
    return SessionOut(name=bearer.name, scope=bearer.scope.value)
