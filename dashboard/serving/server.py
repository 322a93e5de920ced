"""The dashboard as an ASGI app: Streamlit, plus the handbook, and plotly.js out of its package."""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

from meshtune.backend import handbook
from meshtune.dashboard.figures.components import ASSETS_PATH, PLOTLY_PATH, STATIC
from meshtune.dashboard.serving.guard import HostsOnly
from meshtune.dashboard.serving.preload import ChartsAhead, Versioned, plotly_script

# A proxy that takes its prefix off needs no setting; for one that leaves it on, Streamlit has this.
prefix = str(st.get_option("server.baseUrlPath") or "").strip("/")
base = f"/{prefix}" if prefix else ""
# The addresses carry versions, so that a new one is seen at the next page load.
app = st.App(
    Path(__file__).parents[1] / "app.py",
    routes=[
        Mount(f"{base}/{ASSETS_PATH}", Versioned(directory=STATIC)),
        Route(f"{base}/{PLOTLY_PATH}", plotly_script),
        Route(f"{base}/{handbook.PATH}", handbook.page),
        Route(f"{base}/{handbook.PATH}/{{file:path}}", handbook.page),
    ],
    middleware=[Middleware(HostsOnly), Middleware(ChartsAhead, base=base)],
)
