"""A language model that the design names and that is not here: fetch it, and see how that goes."""

import streamlit as st

from meshtune.backend.schemas.models import ModelOut
from meshtune.dashboard import door, state
from meshtune.dashboard.api.client import ApiProblem, api
from meshtune.dashboard.design import calls
from meshtune.dashboard.design.forms import Form
from meshtune.dashboard.design.tree import Design
from meshtune.dashboard.look import format as fmt

FIELD = "model.path"
AWAITED = "model-awaited"  # place of the session: the model whose fetch is under way
POLL_S = 2.0


def offer(design: Design, form: Form, wrong: list[tuple[str, str]]) -> None:
    """Below what is wrong with the name of a fetched model: the button that gets it."""
    place, sentence = form.slots.get(FIELD), dict(wrong).get(FIELD)
    model = design.tree.get("model", {})
    if place is None or sentence is None or model.get("source") != "pip":
        st.session_state.pop(AWAITED, None)
        return
    named = str(model.get("path", "")).strip()
    try:
        on_offer = [each for each in calls.models(api()) if each.source == "pip"]
    except ApiProblem:
        return  # the plan says what is wrong
    with place.container():
        st.error(fmt.sentence(sentence))
        if not named:
            _name(design, on_offer)
        for each in on_offer:
            if each.name == named:
                _get(each)


def _name(design: Design, on_offer: list[ModelOut]) -> None:
    for each in on_offer:
        if st.button(f"Take {each.title}", key=f"model-take-{each.name}", help=each.description):
            model = {**design.tree["model"], "path": each.name}
            design.restart({**design.tree, "model": model})
            st.rerun()


def _get(model: ModelOut) -> None:
    under_way = model.state == "fetching"
    st.fragment(_state, run_every=POLL_S if under_way else None)(model.name)


def _state(name: str) -> None:
    """How the fetch stands; when it has ended the page looks again."""
    try:
        model = next(each for each in calls.models(api()) if each.name == name)
        awaited = st.session_state.get(AWAITED) == name
        if model.state == "fetching":
            st.session_state[AWAITED] = name
            st.info(
                f"Fetching {model.title}: it is downloaded, checked and converted, which takes "
                "some minutes. The plan comes by itself.",
                icon=":material/downloading:",
            )
            return
        if awaited:
            st.session_state.pop(AWAITED)
            st.rerun()
        if model.state == "failed":
            st.error(fmt.sentence(model.sentence or ""), icon=":material/error:")
        if model.state != "present" and _pressed(model):
            st.session_state[AWAITED] = calls.fetch_model(api(), name).name
            st.rerun()
    except ApiProblem as problem:
        state.show_problem(problem)


def _pressed(model: ModelOut) -> bool:
    size = fmt.quantity(float(model.download_bytes or 0), "B")
    return st.button(
        f"Fetch {model.title} ({size})",
        type="primary",
        icon=":material/download:",
        key=f"model-fetch-{model.name}",
        **door.lock("admin", help=model.description),
    )
