"""Several runs side by side: which there are, their curves, their statistics."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from meshtune.backend.compare import replies as compare_replies, table as compare_table
from meshtune.backend.compare.replies import Memory
from meshtune.backend.compare.report import report_html
from meshtune.backend.deps import ID_MAX, Reading, Store
from meshtune.backend.errors import NOT_FOUND
from meshtune.backend.replies import runs as replies
from meshtune.backend.routes.runs import only_these
from meshtune.backend.schemas.compare import (
    LEVELS,
    POINTS_MAX,
    Accuracy,
    Axis,
    Candidates,
    Paired,
    ReportInput,
    Shown,
    Study,
    Who,
)
from meshtune.db import runs
from meshtune.db.models import Run
from meshtune.db.session import reading

router = APIRouter(prefix="/compare", tags=["compare"])

CountedId = Annotated[int, Field(ge=1, le=ID_MAX)]
Compared = Annotated[
    list[CountedId],
    Query(
        alias="run",
        min_length=1,
        max_length=runs.COMPARED_MAX,
        description="Number of a run; repeat for several",
    ),
]
UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "As in the answer with the ETag that If-None-Match names"}
}


async def _memory(request: Request) -> Memory:
    state = request.app.state
    if getattr(state, "comparisons", None) is None:
        state.comparisons = Memory()
    memory: Memory = state.comparisons
    return memory


def _found(session: Reading, numbers: Compared) -> list[Run]:
    return [runs.get(session, number) for number in dict.fromkeys(numbers)]


Remembered = Annotated[Memory, Depends(_memory)]
Found = Annotated[list[Run], Depends(_found, scope="function")]


@router.get("/candidates")
def list_candidates(
    session: Reading,
    memory: Remembered,
    only: Annotated[runs.Only, Depends(only_these)],
    before: Annotated[int | None, Query(ge=1, le=ID_MAX)] = None,
    limit: Annotated[int, Query(ge=1, le=runs.PAGE_MAX)] = 200,
) -> Candidates:
    """Runs, newest first, each with the group of runs that differ from it in the seed only."""
    found = runs.listed(session, before=before, limit=limit, only=only)
    return compare_replies.candidates(session, found, memory)


@router.get("/study", response_model=Study, responses=NOT_FOUND | UNCHANGED)
def study_runs(
    session: Reading,
    memory: Remembered,
    found: Found,
    points: Annotated[
        int, Query(ge=2, le=POINTS_MAX, description="At most so many points of each curve")
    ] = POINTS_MAX,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Configs, versions and all curves of several runs, in the order asked."""
    tag = f'"{compare_replies.tag(found, points)}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    if if_none_match == tag:
        return Response(status_code=304, headers=headers)
    study = compare_replies.study(session, found, points, memory)
    # Written here: FastAPI would turn 100,000 numbers into Python objects and only then into text.
    return Response(study.model_dump_json(), media_type="application/json", headers=headers)


@router.get("/paired", responses=NOT_FOUND)
def pair_groups(
    session: Reading,
    memory: Remembered,
    found: Found,
    reference: Annotated[
        int | None, Query(ge=1, le=ID_MAX, description="One of the runs; the first if left out")
    ] = None,
) -> Paired:
    """Groups of seeds with 95 % intervals, and paired tests against the group of a run."""
    numbers = [run.id for run in found]
    if reference is not None and reference not in numbers:
        found = [*found, runs.get(session, reference)]
    group = compare_replies.groups(session, found, memory)
    return compare_replies.compared_groups(found, group, reference or numbers[0])


async def _shown(
    axis: Annotated[Axis, Query(description="Along the horizontal axis")] = "round",
    metric: Annotated[Accuracy, Query(description="Of costs, levels and tests")] = "accuracy_all",
    who: Annotated[Who, Query(description="Per task: of all devices, or of those it is own")] = (
        "all"
    ),
    level: Annotated[int, Query(ge=1, le=LEVELS, description="To reach, in percent")] = 50,
    together: Annotated[bool, Query(description="Seeds of a group are one line")] = True,
) -> Shown:
    return Shown(axis=axis, metric=metric, who=who, level=level, together=together)


@router.get(
    "/report",
    response_class=Response,
    responses=NOT_FOUND | {200: {"content": {"text/html": {}}, "description": "The page"}},
)
def report_of_runs(
    store: Store,
    memory: Remembered,
    numbers: Compared,
    shown: Annotated[Shown, Depends(_shown)],
    reference: Annotated[
        int | None, Query(ge=1, le=ID_MAX, description="One of the runs; the first if left out")
    ] = None,
) -> Response:
    """One HTML page that needs no network: charts that hover, tables, configs, versions."""
    with reading(store) as session:
        wanted = dict.fromkeys([*numbers, reference or numbers[0]])
        found = [runs.get(session, number) for number in wanted]
        group = compare_replies.groups(session, found, memory)
        given = ReportInput(
            study=compare_replies.study(session, found, POINTS_MAX, memory),
            paired=compare_replies.compared_groups(found, group, reference or numbers[0]),
            shown=shown,
        )
    # No transaction stays open while another process makes the page.
    headers = {"content-disposition": 'attachment; filename="comparison.html"'}
    return Response(report_html(given), media_type="text/html", headers=headers)


@router.get(
    "/table",
    response_class=StreamingResponse,
    responses=NOT_FOUND
    | {
        200: {
            "content": {"text/csv": {}, "application/vnd.apache.parquet": {}},
            "description": "The file",
        }
    },
)
def table_of_runs(
    store: Store,
    numbers: Compared,
    file_format: Annotated[Literal["csv", "parquet"], Query(alias="format")] = "csv",
) -> Response:
    """Every round of several runs, one row each, with their configs, seeds and versions."""
    with reading(store) as session:
        found = [
            replies.detail(session, runs.get(session, number)) for number in dict.fromkeys(numbers)
        ]
    headers = {"content-disposition": f'attachment; filename="comparison.{file_format}"'}
    if file_format == "csv":
        lines = compare_table.csv_lines(store, found)
        return StreamingResponse(lines, media_type="text/csv", headers=headers)
    content = compare_table.parquet(store, found)
    return Response(content, media_type="application/vnd.apache.parquet", headers=headers)
