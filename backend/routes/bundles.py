"""Bundles: take a run away whole, or its adapters, and rebuild it from such a file."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from meshtune.backend.archive.adapters import Choice, export_adapters
from meshtune.backend.archive.bundle import (
    CHUNK_BYTES,
    BundleError,
    BundleTooLarge,
    bundle_bytes,
    export_zip,
)
from meshtune.backend.archive.bundle_import import import_run
from meshtune.backend.archive.bundle_source import Limits
from meshtune.backend.deps import Actor, RunId, Store
from meshtune.backend.errors import NOT_FOUND, problem
from meshtune.backend.replies import runs as replies
from meshtune.backend.schemas.runs import Problem, RunDetail
from meshtune.backend.settings import Settings
from meshtune.db import runs
from meshtune.db.errors import StoreUnavailable
from meshtune.db.session import reading
from meshtune.engine.config import TaskName

router = APIRouter(prefix="/runs", tags=["bundles"])

BUNDLE_MAX_BYTES = 1 << 30  # unpacked; the command line takes more
UPLOAD_MAX_S = 600.0
BUILT_AT_ONCE = 2  # each reads all rounds and writes the bundle to the disk twice
ZIP_TYPES = ("application/zip", "application/x-zip-compressed", "application/octet-stream")
ANY_ZIP: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
TOO_LARGE: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "The bundle is too large"}
}
NOT_ZIP: dict[int | str, dict[str, Any]] = {
    415: {"model": Problem, "description": "The body is not sent as a zip file"}
}

_building = threading.BoundedSemaphore(BUILT_AT_ONCE)


@router.get(
    "/{run_id}/bundle",
    response_class=StreamingResponse,
    responses=NOT_FOUND
    | TOO_LARGE
    | {200: {"content": {"application/zip": ANY_ZIP}, "description": "The file"}},
)
def take_bundle(run_id: RunId, store: Store, request: Request) -> Response:
    """A zip file from which `POST /runs/import` or `meshtune import` rebuilds the run."""
    settings = _settings(request)
    size = bundle_bytes(store, settings, run_id)
    if size > BUNDLE_MAX_BYTES:
        return _too_large(size, f"meshtune export {run_id} --out FOLDER")
    return _packed(settings, f"run-{run_id}", lambda out: export_zip(store, settings, run_id, out))


@router.get(
    "/{run_id}/adapters",
    response_class=StreamingResponse,
    responses=NOT_FOUND
    | TOO_LARGE
    | {200: {"content": {"application/zip": ANY_ZIP}, "description": "The file"}},
)
def take_adapters(
    run_id: RunId,
    store: Store,
    request: Request,
    device: Annotated[
        int | None, Query(ge=0, description="That of this device; of all if none is named")
    ] = None,
    expert: Annotated[
        TaskName | None,
        Query(description="That of the device which answers this task best, of its holders"),
    ] = None,
    merged: Annotated[
        bool, Query(description="The mean of the updates B A of all devices, with equal weights")
    ] = False,
) -> Response:
    """Adapters of a run as folders that `peft` loads, with their cards, in a zip file."""
    settings = _settings(request)
    try:
        choice = Choice(device, expert, merged)
        size = bundle_bytes(store, settings, run_id)
        if size > BUNDLE_MAX_BYTES:
            return _too_large(size, f"meshtune export {run_id} --format peft --out FOLDER")
        return _packed(
            settings,
            f"adapters-{run_id}",
            lambda out: export_adapters(store, settings, run_id, choice, out),
        )
    except BundleError as error:
        return problem(422, "AdaptersUnavailable", str(error))


def _too_large(size: int, command: str) -> Response:
    return problem(
        413,
        "BundleTooLarge",
        f"the file would have about {size:,} bytes, more than {BUNDLE_MAX_BYTES:,}; "
        f"use `{command}` on the machine of the lab",
    )


def _packed(settings: Settings, name: str, make: Callable[[Path], object]) -> Response:
    """The answer with the zip file that `make` writes."""
    with _room(settings) as folder:
        make(folder / "made.zip")
        length = (folder / "made.zip").stat().st_size
        file = (folder / "made.zip").open("rb")  # it outlives its name
    headers = {
        "content-disposition": f'attachment; filename="{name}.zip"',
        "content-length": str(length),
    }
    return StreamingResponse(_chunks(file), media_type="application/zip", headers=headers)


@router.post(
    "/import",
    status_code=201,
    response_model=RunDetail,
    responses=NOT_ZIP | TOO_LARGE,
    openapi_extra={
        "requestBody": {"required": True, "content": dict.fromkeys(ZIP_TYPES[:1], ANY_ZIP)}
    },
)
async def import_bundle(request: Request, store: Store, actor: Actor) -> Response | RunDetail:
    """Rebuild a run from a bundle; one that has not ended comes in paused."""
    given = request.headers.get("content-type", "nothing").partition(";")[0].strip().lower()
    if given not in ZIP_TYPES:
        return problem(
            415,
            "UnsupportedMediaType",
            f"send the bundle with content-type application/zip, not {given[:80]}",
        )
    settings = _settings(request)
    with _writable(), _scratch(settings) as folder:
        try:
            async with asyncio.timeout(UPLOAD_MAX_S):
                await _receive(request, folder / "bundle.zip")
        except (TimeoutError, ClientDisconnect):
            return problem(
                408, "BodyTooSlow", f"the bundle did not arrive in {UPLOAD_MAX_S:g} s; try again"
            )
        return await run_in_threadpool(_imported, folder / "bundle.zip", store, settings, actor)


def _imported(path: Path, store: Engine, settings: Settings, actor: str) -> Response | RunDetail:
    limits = Limits(unpacked_bytes=BUNDLE_MAX_BYTES)
    try:
        number = import_run(path, store, settings, actor, limits)
    except BundleTooLarge as error:
        return problem(413, "BundleTooLarge", str(error))
    except BundleError as error:
        return problem(422, "BundleUnusable", str(error))
    with reading(store) as session:
        return replies.detail(session, runs.get(session, number))


async def _receive(request: Request, path: Path) -> None:
    # The middleware counts the bytes and ends the stream when there are too many.
    with path.open("wb") as file:
        async for chunk in request.stream():
            await run_in_threadpool(file.write, chunk)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


@contextmanager
def _room(settings: Settings) -> Iterator[Path]:
    """A folder for one of the few bundles that are built at a time."""
    if not _building.acquire(blocking=False):
        raise StoreUnavailable("other bundles are being made; try again in a moment")
    try:
        with _writable(), _scratch(settings) as folder:
            yield folder
    finally:
        _building.release()


@contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    """A folder that is gone afterwards, on the disk of the state, which is large enough."""
    with TemporaryDirectory(
        dir=settings.state_dir, prefix=".bundle-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@contextmanager
def _writable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"the state folder cannot be used ({error.strerror}); "
            "free space there or make it writable, nothing stored is lost"
        ) from error


def _settings(request: Request) -> Settings:
    settings: Settings | None = getattr(request.app.state, "settings", None)
    return settings or Settings()
