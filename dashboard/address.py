"""The address of the page: what a link says and what a view writes, and which of them is newer.

A keyed widget keeps its value as long as its view is open, and a default is only read once: a link
to another page of the same view would be passed over. So no control of the address has a default.
`follow` gives it its value before it is drawn, `keep` writes down what was chosen:

    address.follow("compare-axis", "x", axis_of)
    axis = st.segmented_control("Against", AXES, key="compare-axis")
    address.keep("compare-axis", "x", axis, word_of(axis))
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

PLACE = "address"  # of the memory in the session
VIEW = "address-view"  # and of the view that ran last
DIGITS_MOST = 9
EVERYWHERE = "tour"
PARAMETERS: dict[str, tuple[str, ...]] = {  # that a page knows, by the end of its path
    "": (EVERYWHERE,),
    "design": ("preset", "clone", "draft", EVERYWHERE),
    "run": ("run", "base", "tab", EVERYWHERE),
    "compare": (
        *("runs", "groups", "seeds", "ref", "x", "metric", "who", "tasks", "level"),
        EVERYWHERE,
    ),
    "playground": ("run", "device", "round", EVERYWHERE),
    "learn": ("page", EVERYWHERE),
    "sweeps": ("sweep", "metric", EVERYWHERE),
}
OF_STREAMLIT = {"embed", "embed_options", "theme"}


@dataclass
class Trail:
    """What a session wrote at one place of the address, as far as the browser may lag behind.

    A hand that is faster than the network asks with an address of before, for as long as it does
    not rest. That is no link.
    """

    text: str = ""
    before: set[str] = field(default_factory=set)

    def write(self, text: str) -> None:
        """The session says so now."""
        if text != self.text:
            self.before.add(self.text)
            self.text = text

    def is_link(self, given: str) -> bool:
        """Whether the address says something that this session did not write last."""
        if given == self.text:
            self.before.clear()  # the browser has caught up
            return False
        running = get_script_run_ctx()
        if running is not None and running.fragment_ids_this_run:
            return False  # a link opens the whole page
        back = running is not None and running.is_history_navigation
        return back or given not in self.before


@dataclass
class _Control:
    """A control as its view has left it."""

    value: object
    trail: Trail


def parameters() -> dict[str, str]:
    """The address as the browser sent it with this run of the page, and as this run wrote it.

    What Streamlit itself reads is left out.
    `st.query_params` belongs to the session: where a page runs again before its last run is over,
    each would take what the other wrote for what the browser shows.
    """
    running = get_script_run_ctx()
    query = running.query_string if running is not None else ""
    given = parse_qs(query, keep_blank_values=True)
    return {name: each[-1] for name, each in given.items() if name.lower() not in OF_STREAMLIT}


def asked(name: str) -> str:
    """A parameter of the address; empty where it is not there."""
    return parameters().get(name, "")


def whole_number(text: str) -> int | None:
    """The number that a parameter is, if it is one."""
    fits = text.isascii() and text.isdecimal() and len(text) <= DIGITS_MOST
    return int(text) if fits else None


def write(name: str, text: str) -> None:
    """Write a parameter of the address; an empty one is taken out."""
    if not text:
        st.query_params.pop(name, None)
    elif asked(name) != text:
        st.query_params[name] = text


def follow(key: str, name: str, read: Callable[[str], object]) -> None:
    """Give a widget its value: that of the address if a link was followed, else its own.

    Args:
        key: of the widget, which is drawn next and has no default.
        name: of the parameter.
        read: value of the widget for a text of the address, whatever that is.
    """
    given, known = asked(name), _memory().get(key)
    if known is not None and key in st.session_state:
        by_hand = st.session_state[key] != known.value
        if by_hand or not known.trail.is_link(given):
            return
    value = read(given)
    st.session_state[key] = value
    _memory()[key] = _Control(value, Trail(given))


def keep(key: str, name: str, value: object, text: str) -> None:
    """Write what a widget gave: `value` as it is, `text` into the address."""
    control = _memory().setdefault(key, _Control(value, Trail(asked(name))))
    control.value = value
    control.trail.write(text)
    write(name, text)


def trail(place: str) -> Trail:
    """The trail of something that is no widget."""
    return _memory().setdefault(place, _Control(None, Trail())).trail


def arrived(view: str) -> None:
    """A view runs; if another one did before, a link has led here."""
    if st.session_state.get(VIEW) != view:
        st.session_state[VIEW] = view
        forget()


def forget() -> None:
    """A link of our own is followed: whatever its address says is new."""
    st.session_state.pop(PLACE, None)


def _memory() -> dict[str, _Control]:
    found: dict[str, _Control] = st.session_state.setdefault(PLACE, {})
    return found
