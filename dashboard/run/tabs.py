"""The parts of the Run view, one at a time; which one stands in the address."""

from typing import Literal, get_args

import streamlit as st

from meshtune.dashboard import address

Tab = Literal["watch", "tasks", "cost", "inside", "data"]
PLACE = "run-tab"  # in the session: the turn of the control, and its start
TITLES: dict[Tab, str] = {
    "watch": "Watch",
    "tasks": "Tasks",
    "cost": "Cost",
    "inside": "Inside",
    "data": "Log & data",
}


def tab_of(given: str) -> Tab:
    """The part that a text of the address names; the first one if it names none."""
    return next((tab for tab in get_args(Tab) if tab == given), "watch")


def choose() -> Tab:
    """Which part is shown.

    The page may run again before the browser has drawn the control: it would miss a value that is
    set once. So this control has a default, and is another control after a link.
    """
    trail, given = address.trail(PLACE), address.asked("tab")
    if not trail.text or trail.is_link(given):
        go(tab_of(given))
    turn, start = st.session_state[PLACE]
    picked: Tab | None = st.segmented_control(
        "Part of the run",
        list(TITLES),
        default=start,
        required=True,
        format_func=TITLES.__getitem__,
        label_visibility="collapsed",
        key=f"{PLACE}-{turn}",
    )
    shown = picked or start
    trail.write(shown)
    address.write("tab", shown)
    return shown


def go(tab: Tab) -> None:
    """Show this part from now on."""
    turn, _ = st.session_state.get(PLACE, (0, tab))
    st.session_state[PLACE] = (turn + 1, tab)
