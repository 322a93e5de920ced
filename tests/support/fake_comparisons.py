"""The routes of comparisons, over runs in memory: the numbers are made as the API makes them."""

from collections.abc import Mapping
from typing import Protocol

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from meshtune.backend.compare.curves import run_curves
from meshtune.backend.compare.replies import compared_groups, group_of
from meshtune.backend.schemas.compare import Candidate, Candidates, ComparedRun, Study
from meshtune.backend.schemas.runs import RunDetail
from meshtune.db.curves import TOTALS, Scored, Stored
from meshtune.db.errors import RunNotFound
from meshtune.db.round_curves import curve_values
from meshtune.engine.records import RoundRecord


class Remembered(Protocol):
    """A run of the stand-in."""

    def detail(self) -> RunDetail: ...

    def record(self, index: int) -> RoundRecord: ...


def comparison_routes(runs: Mapping[int, Remembered]) -> list[Route]:
    """Candidates, studies, tests and tables of these runs."""

    async def candidates(_: Request) -> Response:
        return _json(Candidates(runs=[_candidate(runs[number]) for number in sorted(runs)[::-1]]))

    async def study(request: Request) -> Response:
        numbers = [int(number) for number in request.query_params.getlist("run")]
        for number in numbers:
            if number not in runs:
                raise RunNotFound(number)
        return _json(Study(runs=[_compared(runs[number]) for number in numbers]))

    async def paired(request: Request) -> Response:
        asked = request.query_params
        found = [_candidate(runs[int(number)]) for number in asked.getlist("run")]
        group = {run.id: run.group for run in found}
        return _json(compared_groups(found, group, int(asked["reference"])))

    async def table(_: Request) -> Response:
        return PlainTextResponse("run_id,round\n", media_type="text/csv")

    answers = {"candidates": candidates, "study": study, "paired": paired, "table": table}
    return [Route(f"/compare/{name}", answer) for name, answer in answers.items()]


def _candidate(run: Remembered) -> Candidate:
    detail = run.detail()
    known = {name: getattr(detail, name) for name in Candidate.model_fields if name != "group"}
    return Candidate(**known, group=group_of(detail.config.model_dump(mode="json")))


def _compared(run: Remembered) -> ComparedRun:
    detail = run.detail()
    records = [run.record(index) for index in range(detail.rounds_done)]
    scored = {}
    for record in records:
        if record.scores:
            values = curve_values(record.model_dump(mode="json"))
            index = values.pop("round_index")
            scored[index] = Scored(**values)
    totals = {name: [getattr(record, name) for record in records] for name in TOTALS}
    config = detail.config
    return ComparedRun(
        run=_candidate(run),
        config=config.model_dump(mode="json"),
        config_sha256=detail.config_sha256,
        provenance=detail.provenance,
        curves=run_curves(Stored(totals, scored), config.evaluation.every_rounds),
    )


def _json(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")
