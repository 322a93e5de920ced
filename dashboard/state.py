"""What the views share: the mode of the page, the address, histories that grow round by round."""

from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from meshtune.backend.schemas.runs import PlanOut, RunSummary
from meshtune.dashboard import address, door
from meshtune.dashboard.api.client import PAGE, ApiClient, ApiProblem, api
from meshtune.dashboard.figures.frames import History
from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine.config import RunConfig, canonical_json
from meshtune.engine.naming import numbered, plain_name
from meshtune.engine.records import RoundRecord

GALLERY, DESIGN, RUN, COMPARE, PLAYGROUND, LEARN, SWEEPS = (
    str(Path(__file__).resolve().with_name(name) / "view.py")
    for name in ("gallery", "design", "run", "compare", "playground", "learn", "sweeps")
)
HISTORIES_KEPT = 24
ROUNDS_KEPT = 64
ALIKE_MOST = 200  # runs whose names are looked at; the API's largest page
PAGES_PER_TICK = 2  # of a long history; the screen shows progress instead of waiting for all


def mode() -> theme.Mode:
    """Whether the page is light or dark."""
    return "dark" if st.context.theme.type == "dark" else "light"


def go_to(view: str, **parameters: str) -> None:
    """Open a view with its selection in the address."""
    address.forget()
    st.switch_page(view, query_params=parameters)


def steady() -> DeltaGenerator:
    """A place whose parts stay as they are while new data are on the way: no fading in and out."""
    st.html('<style>.st-key-steady [data-stale="true"] { opacity: 1 !important; }</style>')
    return st.container(key="steady")


def to_the_door(problem: ApiProblem) -> None:
    """Ask for a token, where that is the trouble."""
    if door.turned_away(problem):
        st.rerun()


def show_problem(problem: ApiProblem, *, where: Any = st) -> None:
    """One sentence that says what is wrong and what to do; the door, where a token is asked for."""
    to_the_door(problem)
    where.error(fmt.sentence(problem.detail), icon=":material/error:")


def told_apart(client: ApiClient, config: RunConfig) -> RunConfig:
    """The config under a name that no run with its seed has: First light, First light (2)."""
    listed = client.runs(limit=ALIKE_MOST, text=plain_name(config.name)).runs
    taken = {run.name for run in listed if run.seed == config.seed}
    return config.model_copy(update={"name": numbered(config.name, taken)})


def start_run(client: ApiClient, config: RunConfig) -> None:
    """Queue a run and open its view; stay and say why if it is refused."""
    try:
        run = client.create(told_apart(client, config))
    except ApiProblem as problem:
        show_problem(problem)
        return
    go_to(RUN, run=str(run.id))


def history_of(run_id: int) -> History:
    """The history of a run in this session; the oldest is dropped when there are too many."""
    kept: dict[int, History] = st.session_state.setdefault("histories", {})
    history = kept.pop(run_id, None) or History()
    kept[run_id] = history
    while len(kept) > HISTORIES_KEPT:
        kept.pop(next(iter(kept)))
    return history


def follow(client: ApiClient, run: RunSummary, *, pages: int) -> History:
    """Ask for the rounds after the last one seen, at most `pages` pages of them."""
    history = history_of(run.id)
    if history.last_round_index + 1 > run.rounds_done:  # the run began again at a checkpoint
        st.session_state["histories"].pop(run.id)
        st.session_state.pop("whole_rounds", None)  # some of them are played again
        history = history_of(run.id)
    for _ in range(pages):
        if history.last_round_index + 1 >= run.rounds_done:
            break
        page = client.rounds(run.id, history.last_round_index, limit=PAGE, detail="summary")
        history.extend(page.rounds)
        if not page.rounds:
            break
    return history


def whole_round(client: ApiClient, run_id: int, index: int) -> RoundRecord | None:
    """Round `index` with all its lists; the ones seen last are kept, since a round is final."""
    if index < 0:
        return None
    kept: dict[tuple[int, int], RoundRecord] = st.session_state.setdefault("whole_rounds", {})
    record = kept.pop((run_id, index), None)
    if record is None:
        page = client.rounds(run_id, index - 1, limit=1, detail="full")
        if not page.rounds or page.rounds[0].round_index != index:
            return None
        record = page.rounds[0]
    kept[(run_id, index)] = record
    while len(kept) > ROUNDS_KEPT:
        kept.pop(next(iter(kept)))
    return record


@st.cache_data(max_entries=64, ttl=3600, show_spinner=False)
def _plan(config_json: str) -> PlanOut:
    return api().plan(RunConfig.model_validate_json(config_json))


def plan_of(config: RunConfig) -> PlanOut:
    """The plan of a config; asked for once per config, since equal configs give equal plans.

    The name of a run changes nothing. An answer with problems is not kept: a missing file may be
    there the next time.
    """
    text = canonical_json(config.model_copy(update={"name": "plan"}))
    planned = _plan(text)
    if planned.problems:
        _plan.clear(text)
    return planned
