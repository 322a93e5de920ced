"""The parts of the Run view, one at a time; which one stands in the address."""

from typing import Literal, get_args

import streamlit as st

from meshtune.dashboard import address

Tab = Literal["watch", "tasks", "cost", "inside", "data"]
KEY = "run-tab"
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
    """Which part is shown."""
    address.follow(KEY, "tab", tab_of)
    picked: Tab | None = st.segmented_control(
        "Part of the run",
        list(TITLES),
        required=True,
        format_func=TITLES.__getitem__,
        label_visibility="collapsed",
        key=KEY,
    )
    shown = picked or "watch"
    address.keep(KEY, "tab", shown, shown)
    return shown


def go(tab: Tab) -> None:
    """Show this part the next time."""
    st.session_state[KEY] = tab
