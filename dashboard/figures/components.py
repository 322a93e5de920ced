"""Live parts that keep their place on screen: the chart and the network map.

Each is a Streamlit v2 component whose inline script only loads a module from dashboard/static once
and calls its `draw` on every change of data; sending the module inline would send it every time.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import streamlit as st

STATIC = Path(__file__).parents[1] / "static"
# Served by dashboard/serving/server.py; no other host is ever asked. They are relative to the page,
# since only the browser knows below which path a proxy shows it; all views are at one depth.
ASSETS_PATH = "meshtune-assets"
PLOTLY_PATH = "meshtune-plotly.js"

# A script that does not come is said in the place of what it would draw; static/chart.js says the
# same of plotly.js.
LOADER = """
const url = new URL("{url}", document.baseURI);
const module = import(url);
function missing({{ parentElement }}) {{
  const host = parentElement.querySelector(".{place}");
  if (!host || host.querySelector(".mt-missing")) return;
  const said = document.createElement("p");
  said.className = "mt-missing";
  said.setAttribute("role", "alert");
  said.textContent = `Nothing can be drawn here: ${{url.pathname}} did not load. Reload the page; `
    + "if it stays so, a proxy in front of Meshtune may not pass this path.";
  host.replaceChildren(said);
}}
export default function (component) {{
  module.then((loaded) => loaded.draw(component), () => missing(component));
  return () => module.then((loaded) => loaded.dispose(component), () => {{}});
}}
"""


def asset_url(name: str, **parameters: str) -> str:
    """Address of a file in dashboard/static, from the page; it changes with the content."""
    version = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    rest = "".join(f"&{key}={value}" for key, value in parameters.items())
    return f"{ASSETS_PATH}/{name}?v={version}{rest}"


def plotly_url() -> str:
    """Address of plotly.js out of the installed package, from the page."""
    return f"{PLOTLY_PATH}?v={plotly.__version__}"


@st.cache_resource
def _component(name: str, place: str) -> Callable[..., Any]:
    parameters = {}
    if name == "chart":
        parameters["plotly"] = plotly_url().replace("?", "%3F")
    return st.components.v2.component(
        f"meshtune_{name}",
        html=f'<div class="{place}"></div>',
        css=(STATIC / f"{name}.css").read_text("utf-8"),
        js=LOADER.format(url=asset_url(f"{name}.js", **parameters), place=place),
        isolate_styles=False,  # Plotly puts its style sheet into the document head
    )


def mount(name: str, place: str, **arguments: Any) -> Any:
    """Mount the component of dashboard/static/NAME.js; it draws into an element of class PLACE."""
    return _component(name, place)(**arguments)


def live_chart(figure: go.Figure, *, key: str, keep: str = "keep") -> None:
    """Draw `figure` in place; zoom and hidden traces stay while `keep` stays.

    Args:
        figure: from `curves`; its height is reserved, its title names the saved files.
        key: identity of the chart on its page.
        keep: changes when the axes change their meaning, which drops the zoom.
    """
    draw_chart({**chart_data(figure), "keep": keep, "marks": False}, key=key)


def chart_data(figure: go.Figure) -> dict[str, Any]:
    """What the browser needs of a figure; worth keeping where it takes long to make."""
    payload = json.loads(str(figure.to_json()))
    payload["layout"].pop("template", None)
    title = figure.layout.title.text or "chart"
    return {
        "figure": payload,
        "height": int(figure.layout.height),
        "rev": hashlib.sha256(json.dumps(payload).encode()).hexdigest()[:12],
        "file": "".join(c if c.isalnum() else "-" for c in title.lower()).strip("-"),
    }


def draw_chart(data: dict[str, Any], *, key: str) -> None:
    """Draw what `chart_data` gave, with `keep` as in `live_chart`.

    `marks` says whether it shows the round that `mark_round` names.
    """
    _component("chart", "mt-chart")(key=key, height=data["height"], data=data)


def mark_round(finished: int | None, *, key: str) -> None:
    """Have the charts that show marks draw a line at a round, without sending them again."""
    _component("marker", "mt-marker")(key=key, height=1, data={"round": finished})


def network_map(payload: dict[str, Any], *, key: str, height: int) -> None:
    """Draw the map described by `payload` (see meshtune.dashboard.figures.maps), read-only."""
    revision = hashlib.sha256(json.dumps(payload).encode()).hexdigest()[:12]
    mount = _component("map", "mt-map-host")
    mount(key=key, data={**payload, "height": height, "rev": revision})


def copy_link(label: str, *, key: str) -> None:
    """A button that copies the address of the page, which restores the view."""
    mount = _component("share", "mt-share")
    mount(key=key, height=40, data={"label": label})
