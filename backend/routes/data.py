"""Files of rows: those that are here, another one, and what a template makes of one."""

import asyncio
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Path as InPath, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from meshtune.backend.errors import BODY, InvalidConfig, problem
from meshtune.backend.guards.files import require_kept
from meshtune.backend.replies.data import at_its_field, preview_of
from meshtune.backend.schemas.data import FileOut, PreviewIn, PreviewOut
from meshtune.backend.schemas.runs import Problem
from meshtune.engine.data.kept import NAME, data_folder, keep, kept_files
from meshtune.engine.data.reading import read_table, table_of
from meshtune.engine.data.rows import Table

router = APIRouter(prefix="/data", tags=["data"])

UPLOAD_MAX_S = 600.0
PREVIEW_MAX_BYTES = 64 * 2**20  # as large as what is brought in; a plan reads larger ones
TABLES_KEPT = 2  # as read: whoever changes a template asks again and again
ANY_FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
TAKEN: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "The name has a slash, so that it is another address"},
    409: {"model": Problem, "description": "Another file has this name"},
}
FileName = Annotated[str, InPath(max_length=100, description="Of the file, without a folder")]


@router.get("")
def list_files() -> list[FileOut]:
    """Files of rows in data/ of the state folder, by name."""
    return [FileOut(name=path.name, bytes=path.stat().st_size) for path in kept_files()]


@router.put(
    "/{name}",
    responses=TAKEN,
    response_model=FileOut,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/octet-stream": ANY_FILE}}
    },
)
async def keep_file(name: FileName, request: Request) -> Response | FileOut:
    """Keep a file of rows; the same content twice does no harm, and none takes another's place."""
    try:
        async with asyncio.timeout(UPLOAD_MAX_S):
            content = await request.body()  # the middleware counts it
    except (TimeoutError, ClientDisconnect):
        detail = f"the file did not arrive in {UPLOAD_MAX_S:g} s; try again"
        return problem(408, "BodyTooSlow", detail)
    return await run_in_threadpool(_kept, name, content)


@router.post("/preview", responses=BODY)
def preview(body: PreviewIn, request: Request) -> PreviewOut:
    """The first rows of a file as prompts and answers, and what to know of all of them."""
    path = _place(body.path, request)
    with at_its_field("path"):
        return preview_of(_table(path), body)


def _kept(name: str, content: bytes) -> FileOut:
    with at_its_field("name"):
        if NAME.fullmatch(name):  # else it is the name that is wrong
            table_of(content, Path(name))  # what has no row is not kept
        path = keep(name, content)
    return FileOut(name=path.name, bytes=len(content))


def _place(named: str, request: Request) -> Path:
    """Where the file lies; only who may do all may look at files outside of the folder."""
    require_kept(request, {"path": named})
    return data_folder() / named.strip()


def _table(path: Path) -> Table:
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return read_table(path)  # which says what is wrong
    if stat.st_size > PREVIEW_MAX_BYTES:
        raise InvalidConfig(
            [
                (
                    "path",
                    f"the file has {stat.st_size:,} bytes and {PREVIEW_MAX_BYTES:,} are shown here "
                    f"at most; look at it with `meshtune data show`",
                )
            ]
        )
    return _read(path, (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=TABLES_KEPT)
def _read(path: Path, _written: tuple[int, int]) -> Table:
    return read_table(path)
