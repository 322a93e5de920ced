"""Links into the handbook, which the dashboard's server has beside its pages."""

import re

import streamlit as st

from meshtune.dashboard.look.theme import HAIRLINE, Mode

ADDRESS = "handbook"  # from the page: only the browser knows below which path a proxy shows it
CITED = re.compile(r"\b(M\d{1,2}[a-z]?)\b|\bdocs/([a-z-]+)\.md\b")


def cited(text: str) -> str:
    """Words with a link at every equation (M10) and page (docs/metrics.md) that they name."""
    return CITED.sub(_linked, text)


def _linked(found: re.Match[str]) -> str:
    page = found[2] or found[1].lower()
    return f"[{found[0]}]({ADDRESS}/{page}.html)"


def link(mode: Mode) -> None:
    """The way to the handbook, in the corner of every view."""
    st.html(
        "<style>.st-key-handbook { position: fixed; top: 0; right: 1rem; height: 3.5rem; "
        "z-index: 999991; width: auto; justify-content: center; }"
        f".st-key-handbook a {{ border: 1px solid {HAIRLINE.of(mode)}; border-radius: 6px; "
        "padding: 4px 8px; text-decoration: none; }</style>"
    )
    with st.container(key="handbook"):
        st.markdown(f"[Handbook]({ADDRESS}/)", width="content")
