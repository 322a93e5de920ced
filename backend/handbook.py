"""The handbook, as `make docs` builds it from docs/ into the package: public text, served as it is.

API and dashboard have it at the same path, so that a link of a page needs no address of the other.
"""

from importlib.resources import files
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

FOLDER = Path(str(files("meshtune"))) / "handbook"
PATH = "handbook"
UNBUILT = (
    "The handbook is not in this installation. In a checkout of the source `make docs` builds it; "
    "its pages can be read there in the folder docs as well.\n"
)
NO_PAGE = "The handbook has no such page. It begins at handbook/index.html.\n"
# Scripts within its pages and search in the background; nothing that is from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; worker-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {"content-security-policy": POLICY, "cache-control": "no-cache"}


async def page(request: Request) -> Response:
    """A file of the handbook; its first page where none is named."""
    if "file" not in request.path_params:
        return RedirectResponse(f"{PATH}/")  # below whatever path a proxy shows us
    if not FOLDER.is_dir():
        return PlainTextResponse(UNBUILT, 404)
    file = request.path_params["file"] or "index.html"
    try:
        answer = await StaticFiles(directory=FOLDER).get_response(file, request.scope)
    except HTTPException:
        return PlainTextResponse(NO_PAGE, 404)
    answer.headers.update(HEADERS)
    return answer
