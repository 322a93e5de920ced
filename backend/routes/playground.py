"""The playground: what can be asked of a run, and asking it."""

from fastapi import APIRouter, Request

from meshtune.backend.deps import RunId, Store
from meshtune.backend.errors import BODY, NOT_FOUND, InvalidConfig
from meshtune.backend.playground.asking import Playground
from meshtune.backend.schemas.playground import AnsweredOut, AskIn, PlaygroundOut
from meshtune.db import runs
from meshtune.db.session import reading
from meshtune.engine.peft_start import adapters_here

router = APIRouter(tags=["playground"])

NOTHING_KEPT = (
    "this run kept no state to ask: a state is kept from the first finished round on, and an "
    "imported run comes without"
)


@router.get("/runs/{run_id}/playground", responses=NOT_FOUND)
def look(run_id: RunId, store: Store, request: Request) -> PlaygroundOut:
    """Rounds whose state is kept, devices and tasks of a run."""
    with reading(store) as session:
        run = runs.get(session, run_id)
        config, rounds_done = runs.config_of(run), run.rounds_done
    playground: Playground = request.app.state.playground
    kept = list(playground.kept(run_id, rounds_done))
    fleet = config.fleet
    return PlaygroundOut(
        rounds=kept,
        tasks=list(fleet.present_tasks()),
        devices=[fleet.task_of(device) for device in range(fleet.devices)],
        missing=None if kept else NOTHING_KEPT,
        adapters=adapters_here(),
    )


@router.post("/playground", responses=NOT_FOUND | BODY)
def ask(body: AskIn, store: Store, request: Request) -> AnsweredOut:
    """Answers of one device to one prompt: bare model, own, merged and gated adapters, oracle."""
    with reading(store) as session:
        run = runs.get(session, body.run_id)
        config, rounds_done = runs.config_of(run), run.rounds_done
    if body.device >= config.fleet.devices:
        last = config.fleet.devices - 1
        raise InvalidConfig([("device", f"there is no device {body.device}; the last is {last}")])
    playground: Playground = request.app.state.playground
    kept = playground.kept(body.run_id, rounds_done)
    if not kept:
        raise InvalidConfig([("run_id", NOTHING_KEPT)])
    wanted = body.rounds_done or max(kept)
    if wanted not in kept:
        known = ", ".join(map(str, kept))
        raise InvalidConfig(
            [("rounds_done", f"the state after round {wanted} is not kept; those of {known} are")]
        )
    return playground.ask(body, kept[wanted], config)
