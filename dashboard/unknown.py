"""What an address names and nobody knows: one sentence, what is near it, and the way there.

Where a value is unknown, nothing else is shown: another thing under the name that was asked for
would be worse. A parameter that the page does not know changes nothing, and is named.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import streamlit as st

from meshtune.dashboard import address, state
from meshtune.dashboard.api.client import ApiProblem, api
from meshtune.dashboard.look import format as fmt

SHOWN_MOST = 3
GIVEN_MOST = 60  # characters of what was asked for
NEAR = 0.5  # of `difflib`; 1 is equal


@dataclass(frozen=True)
class Way:
    """A link: its words, the view, and what its address says."""

    label: str
    view: str
    parameters: Mapping[str, str]


def slug(title: str) -> str:
    """A title as people write it into an address."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def named(given: str, titles: Mapping[str, str]) -> str | None:
    """The name that is meant: itself, or the one whose title reads so."""
    if given in titles:
        return given
    return next((name for name, title in titles.items() if slug(title) == slug(given) != ""), None)


def near(given: str, titles: Mapping[str, str]) -> list[str]:
    """Names that are near in name or title, nearest first; the first ones where none is."""
    words = {slug(title): name for name, title in titles.items()}
    words |= {slug(name): name for name in titles}
    found = get_close_matches(slug(given), words, 2 * SHOWN_MOST, NEAR)
    return list(dict.fromkeys(words[word] for word in found) or titles)[:SHOWN_MOST]


def quoted(given: str) -> str:
    """What was asked for, short enough for a sentence."""
    cut = given if len(given) <= GIVEN_MOST else f"{given[:GIVEN_MOST]}…"
    return f"“{cut}”"


def no_number(what: str, given: str) -> str:
    """Why a number of the address is none."""
    return f"{what} numbers are whole numbers, not {quoted(given)}"


def parameters(view: str) -> None:
    """Say which parameters of the address this page does not know, and which it knows."""
    known = address.PARAMETERS[view]
    odd = [name for name in address.parameters() if name not in known]
    place = st.container()  # there without a sentence as well, so that nothing below it moves
    if odd:
        place.warning(fmt.sentence(odd_ones(odd, known)), icon=":material/warning:")


def odd_ones(odd: Sequence[str], known: Sequence[str]) -> str:
    """The sentence about parameters that a page does not know."""
    few = ", ".join(map(quoted, odd[:SHOWN_MOST]))
    more = f" and {len(odd) - SHOWN_MOST} more" if len(odd) > SHOWN_MOST else ""
    return f"this page does not know {few}{more} in its address; it knows {', '.join(known)}"


def preset_ways(given: str, titles: Mapping[str, str]) -> list[Way]:
    """Links to the presets near a name."""
    return [Way(titles[name], state.DESIGN, {"preset": name}) for name in near(given, titles)]


def run_ways(view: str, parameter: str) -> list[Way]:
    """Links to the newest runs in a view."""
    return newest(
        lambda: [
            Way(f"{run.name} · run {run.id}", view, {parameter: str(run.id)})
            for run in api().runs(limit=SHOWN_MOST).runs
        ]
    )


def newest(ask: Callable[[], list[Way]]) -> list[Way]:
    """The links that `ask` gives; none while the API is away."""
    try:
        return ask()
    except ApiProblem:
        return []  # the sentence above says already that the API is away


def show(sentence: str, ways: Sequence[Way], *, lead: str = "The newest:") -> None:
    """Say it, and where to go from here; the view ends after it."""
    st.error(fmt.sentence(sentence), icon=":material/error:")
    if ways:
        st.caption(lead)
    for way in ways:
        label = re.sub(r"([^\w\s])", r"\\\1", way.label)
        st.page_link(way.view, label=label, query_params=dict(way.parameters))
    st.page_link(state.GALLERY, label="Open the gallery", icon=":material/grid_view:")
