"""The dashboard as an ASGI app: Streamlit, plus plotly.js out of the installed plotly package."""

from pathlib import Path

import plotly
import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from dashboard.components import ASSETS_PATH, PLOTLY_PATH, STATIC
from dashboard.preload import ChartsAhead

# Both mounts carry ETags, so that a new version is seen at the next page load.
app = st.App(
    Path(__file__).with_name("app.py"),
    routes=[
        Mount(ASSETS_PATH, StaticFiles(directory=STATIC)),
        Mount(PLOTLY_PATH, StaticFiles(directory=Path(plotly.__file__).parent / "package_data")),
    ],
    middleware=[Middleware(ChartsAhead)],
)
