"""A guided tour of about ten minutes: `?tour=1` begins it, on an empty store as well."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from meshtune.dashboard import address, state
from meshtune.dashboard.address import Trail
from meshtune.dashboard.api.client import ApiProblem, api

PLACE = "tour"  # of the step in the session
SAID = "tour-address"  # of what the address said about it
Where = Callable[[], dict[str, str]]


@dataclass(frozen=True)
class Step:
    """What a teacher says, and the view that shows it."""

    title: str
    text: str
    view: str
    where: Where = dict


def _newest() -> dict[str, str]:
    """The newest run that has rounds."""
    found = [run for run in api().runs(limit=50).runs if run.rounds_done]
    return {"run": str(found[0].id)} if found else {}


def _newest_tasks() -> dict[str, str]:
    """Its tasks: the charts that the step speaks of."""
    found = _newest()
    return {**found, "tab": "tasks"} if found else {}


def _latest() -> dict[str, str]:
    """The newest run, which may just have been started."""
    found = api().runs(limit=1).runs
    return {"run": str(found[0].id)} if found else {}


def _two() -> dict[str, str]:
    """The two newest runs that have rounds."""
    found = [run for run in api().runs(limit=50).runs if run.rounds_done][:2]
    return {"runs": ",".join(str(run.id) for run in found), "x": "bits"}


STEPS = (
    Step(
        "Phones that teach each other",
        "Phones on a map hold different tasks. There is no server: each talks to its neighbours "
        "by radio, and together they fine-tune one frozen language model. Every card below is an "
        "experiment; its picture is a run that was made before.",
        state.GALLERY,
    ),
    Step(
        "Two ways to share",
        "Plain LoRA averages the adapters of all. Sparse experts keep one adapter per task and "
        "send copies. Look at the two cards side by side: which curve rises further, and how many "
        "bits did it take?",
        state.GALLERY,
    ),
    Step(
        "The mesh, before anything trains",
        "Drag a device away from the others. Its links turn pale: the signal gets weaker, the "
        "rate falls. The plan below follows at once: bits, seconds and joules of the whole run.",
        state.DESIGN,
        lambda: {"preset": "quick"},
    ),
    Step(
        "Run it",
        "Press Run, in the upper right corner. The first round takes a few seconds, the whole run "
        "about half a minute. You come to the Run view by yourself; then press Next here.",
        state.DESIGN,
        lambda: {"preset": "quick"},
    ),
    Step(
        "Watch it learn",
        "Dots on the links are messages; the ring around a device is its accuracy on its own "
        "task. When the run has ended, press Play and see all of it again.",
        state.RUN,
        _latest,
    ),
    Step(
        "Forgetting",
        "The dotted line under Forgetting says how much of the own task each exchange undid. With "
        "experts it is small. Averaging across tasks makes it large.",
        state.RUN,
        _newest_tasks,
    ),
    Step(
        "Interference",
        "Why not simply add all adapters? Here are two of them. Their matrices are orthogonal, "
        "and still the other one changes your answer by as much as its own size. Move the weight "
        "to 0: that is what a gate is for.",
        state.LEARN,
        lambda: {"page": "interference"},
    ),
    Step(
        "Collisions",
        "Sparse masks leave room for several tasks in one matrix. Raise density and devices: the "
        "dark entries belong to more than one.",
        state.LEARN,
        lambda: {"page": "collision"},
    ),
    Step(
        "Airtime",
        "From metres to seconds. Halve the payload and the time halves; double the distance and "
        "see what it costs.",
        state.LEARN,
        lambda: {"page": "link"},
    ),
    Step(
        "Who answers?",
        "Nobody trained a router. Each expert carries the mean of its prompts, and unseen prompts "
        "find their place by themselves.",
        state.LEARN,
        lambda: {"page": "routing"},
    ),
    Step(
        "Ask a device",
        "Five answers to one question: bare model, own adapter, everything merged, gated experts, "
        "oracle. Switch the right expert off and ask again.",
        state.PLAYGROUND,
        _newest,
    ),
    Step(
        "Compare fairly",
        "Against bits, not rounds: sharing is only worth what it costs on air. Choose two runs on "
        "the left, for example one of each card of the second step. That is the tour; draw a mesh "
        "of your own next.",
        state.COMPARE,
        _two,
    ),
)


def asked() -> int | None:
    """The step of the tour, from 1; None outside of it."""
    given = address.asked("tour")
    number = address.whole_number(given)
    if number is not None and _said().is_link(given):
        st.session_state[PLACE] = min(max(1, number), len(STEPS))
        st.session_state[SAID] = Trail(given)
    step: int | None = st.session_state.get(PLACE)
    return step


def _said() -> Trail:
    said: Trail = st.session_state.setdefault(SAID, Trail())
    return said


def panel() -> None:
    """The step above the view it talks about; nothing outside of a tour."""
    number = asked()
    if number is None:
        return
    step = STEPS[number - 1]
    with st.container(border=True, key="tour"):
        st.markdown(f"**{step.title}** :gray[tour, step {number} of {len(STEPS)}]")
        st.markdown(step.text)
        with st.container(horizontal=True, gap="small"):
            if st.button("Back", key="tour-back", disabled=number == 1):
                _open(number - 1)
            last = number == len(STEPS)
            if not last and st.button("Next", key="tour-next", type="primary"):
                _open(number + 1)
            if st.button("Show me again", key="tour-show", help="Open the view of this step"):
                _open(number)
            if st.button("End the tour", key="tour-end"):
                st.session_state.pop(PLACE, None)
                st.query_params.pop("tour", None)
                _said().write("")
                st.rerun()


def _open(number: int) -> None:
    step = STEPS[number - 1]
    st.session_state[PLACE] = number
    _said().write("")  # the views have addresses without the tour
    try:
        where = step.where()
    except ApiProblem:
        where = {}  # the view itself says that the API is away
    state.go_to(step.view, **where)
