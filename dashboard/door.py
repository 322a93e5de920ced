"""The door: where the API asks for tokens, so does the dashboard, and shows what a token may do.

The token lives in the session of one browser tab, in the memory of this server. It is in no
address, no cookie, no log and no cache that sessions share.
"""

import os
import re
from typing import Any, Literal

import streamlit as st

from meshtune.backend.schemas.runs import SessionOut
from meshtune.dashboard.api.client import TOKEN, ApiProblem, api, api_with
from meshtune.dashboard.serving.launch import API_URL_VARIABLE, DEFAULT_API_URL

Scope = Literal["read", "run", "admin"]
RANKS: dict[Scope, int] = {"read": 0, "run": 1, "admin": 2}
MAY: dict[Scope, str] = {
    "read": "looks only",
    "run": "starts and steers runs",
    "admin": "may do everything",
}
OPEN = SessionOut(name=None, scope="admin")  # where nobody is asked
WHO = "door-who"  # of the person who is signed in
KEPT = "door-kept"  # what was typed when the token ended
RETURNED = "door-returned"
PROBED_S = 3600.0  # an API that begins to ask for tokens says so with its first refusal
SECRET = re.compile(r"[\x21-\x7e]{1,200}")  # what can stand in a header
WRONG = (
    "This token is not valid: it is unknown, was revoked or has ended. "
    "Check that all of it was copied, or ask for a new one."
)
ENDED = "Your token has ended or was revoked. Sign in again; what you typed is kept."


@st.cache_data(ttl=PROBED_S, show_spinner=False)
def _asks(base_url: str) -> bool:  # noqa: ARG001 - key
    """Whether the API asks for tokens."""
    try:
        api_with(None).session()
    except ApiProblem as problem:
        if problem.status is None:
            raise  # it does not answer: ask again the next time
        return problem.status == 401
    return False


def passed() -> bool:
    """Whether the page may be shown; who is signed in is known then."""
    st.session_state.pop(RETURNED, None)
    token = st.session_state.get(TOKEN)
    try:
        if token is None:
            _keep_typed()
            st.session_state[WHO] = OPEN
            asked = _asks(os.environ.get(API_URL_VARIABLE, DEFAULT_API_URL))
            if asked:
                _asks.clear()  # it may ask no more the next time
            return not asked
        st.session_state[WHO] = api().session()
    except ApiProblem as problem:
        if problem.status == 401:
            _lock()
            return False
        if token is not None and problem.status is not None:
            st.session_state.pop(WHO, None)
    _give_back()
    return True


def _lock() -> None:
    """The token is good no more: keep what was typed, forget the token."""
    del st.session_state[TOKEN]
    st.session_state[KEPT] = {}
    _keep_typed()


def _keep_typed() -> None:
    """What stands in the widgets now, also what was on its way while the token was refused."""
    if KEPT in st.session_state:
        st.session_state[KEPT] |= {
            str(key): value
            for key, value in st.session_state.items()
            if _typed(value) and not str(key).startswith("door-")
        }


def _typed(value: Any) -> bool:
    """Whether a value can be given back to a widget; a button, which is a bool, takes none."""
    if isinstance(value, list | tuple):
        return all(isinstance(each, str | int | float) for each in value)
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _give_back() -> None:
    """Before any widget is made: what was typed when the token ended."""
    kept: dict[str, Any] = st.session_state.pop(KEPT, {})
    for key, value in kept.items():
        st.session_state[key] = value
    if kept:
        st.session_state[RETURNED] = True


def returned() -> bool:
    """Whether this run of the page is the first after somebody signed in again."""
    return bool(st.session_state.get(RETURNED))


def sign_in() -> None:
    """The screen that asks for a token, in place of the page."""
    middle = st.container(horizontal_alignment="center")
    with middle, st.container(key="door", width=480):
        st.title("Sign in to Meshtune", anchor=False)
        if KEPT in st.session_state:
            st.info(ENDED, icon=":material/lock_clock:")
        st.markdown("This Meshtune asks who you are. Your token says what you may do here.")
        with st.form("door-form", clear_on_submit=True):
            given = st.text_input(
                "Token",
                type="password",
                placeholder="mt_…",
                autocomplete="current-password",
                help="Whoever runs this Meshtune makes one with `meshtune token create NAME`. "
                "With `--scope read` it looks, with `run` it also starts and steers runs, with "
                "`admin` it also deletes and brings in.",
                key="door-token",
            )
            pressed = st.form_submit_button(
                "Sign in", type="primary", icon=":material/login:", width="stretch"
            )
        place = st.container()
        st.caption("It stays in this tab until you sign out, load the page anew or close it.")
    if pressed:
        _try(given.strip(), place)


def _try(token: str, place: Any) -> None:
    if not token:
        place.error("Paste your token first.", icon=":material/error:")
        return
    try:
        if not SECRET.fullmatch(token):
            raise ApiProblem("Unauthorized", WRONG, 401)  # noqa: TRY301 - as the API would
        api_with(token).session()
    except ApiProblem as problem:
        wrong = problem.status == 401
        place.error(WRONG if wrong else str(problem), icon=":material/error:")
        return
    st.session_state[TOKEN] = token
    st.rerun()


def sign_out() -> None:
    """Forget the person and all that the session knows of them."""
    st.session_state.clear()


def plate() -> None:
    """Who is signed in and what they may do; nothing where nobody is asked."""
    who: SessionOut = st.session_state.get(WHO, OPEN)
    if TOKEN not in st.session_state:
        return
    st.html("<style>.st-key-door-plate { margin: -2.5rem 0 -1.5rem; }</style>")
    with st.container(
        horizontal=True,
        horizontal_alignment="right",
        vertical_alignment="center",
        gap="small",
        key="door-plate",
    ):
        st.caption(f"Signed in as **{who.name}**, {MAY[who.scope]}", width="content")
        st.button(
            "Sign out",
            icon=":material/logout:",
            type="tertiary",
            key="door-out",
            on_click=sign_out,
        )


def may(needed: Scope) -> bool:
    """Whether the person may do what needs this scope."""
    if TOKEN not in st.session_state:
        return True
    who: SessionOut | None = st.session_state.get(WHO)
    return who is not None and RANKS[who.scope] >= RANKS[needed]


def lock(needed: Scope, *, disabled: bool = False, help: str | None = None) -> dict[str, Any]:  # noqa: A002 - as Streamlit
    """Arguments of a button that is grey, with the reason, where the token may not do it."""
    if may(needed):
        return {"disabled": disabled, "help": help}
    who: SessionOut | None = st.session_state.get(WHO)
    told = f"Your token {MAY[who.scope]}" if who else "What your token may do is not known now"
    return {"disabled": True, "help": f"{told}. This takes one with the scope {needed}."}


def turned_away(problem: ApiProblem) -> bool:
    """Whether a call was refused for want of a good token: the door asks again then."""
    if problem.status != 401:
        return False
    _asks.clear()
    return True
