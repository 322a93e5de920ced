"""What several views ask for."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


def whole_number(
    place: DeltaGenerator, label: str, low: int, high: int, *, key: str, told: str | None = None
) -> int:
    """A whole number between bounds; what is none is said below, and the page stops there."""
    given = place.number_input(label, value=low, step=1, key=key, help=told)
    if given is None or not low <= given <= high:
        said = "is empty" if given is None else f"must be from {low:,} to {high:,}, not {given:,}"
        st.error(f"{label} {said}; give it another value.", icon=":material/error:")
        st.stop()
    return given
