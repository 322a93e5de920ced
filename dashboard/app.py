"""Entry of the dashboard: page settings and navigation, nothing else.

`python -m meshtune.dashboard` serves it; dashboard/serving/server.py adds the files
that charts and map need.
"""

import streamlit as st

from meshtune.dashboard import address, door, tour, unknown
from meshtune.dashboard.figures.components import STATIC
from meshtune.dashboard.look import handbook, theme
from meshtune.dashboard.state import COMPARE, DESIGN, GALLERY, LEARN, PLAYGROUND, RUN, SWEEPS, mode

LOGO = str(STATIC / "logo.svg")
# A local file as page icon: Streamlit would fetch a Material icon from the network.
st.set_page_config(page_title="Meshtune", page_icon=LOGO, layout="wide")
st.logo(LOGO, size="medium")
inside = door.passed()
page = st.navigation(
    [
        st.Page(GALLERY, title="Gallery", icon=":material/grid_view:", default=True),
        st.Page(DESIGN, title="Design", icon=":material/hub:", url_path="design"),
        st.Page(RUN, title="Run", icon=":material/monitoring:", url_path="run"),
        st.Page(COMPARE, title="Compare", icon=":material/stacked_line_chart:", url_path="compare"),
        st.Page(PLAYGROUND, title="Playground", icon=":material/forum:", url_path="playground"),
        st.Page(LEARN, title="Learn", icon=":material/school:", url_path="learn"),
        st.Page(SWEEPS, title="Sweeps", icon=":material/apps:", url_path="sweeps"),
    ],
    position="top" if inside else "hidden",
)
# Streamlit's own captions and primary buttons have too little contrast to be read by everybody.
st.html(theme.contrast_css(mode()))
if inside:
    handbook.link(mode())
    door.plate()
    tour.panel()
    address.arrived(page.url_path)
    unknown.parameters(page.url_path)
    page.run()
else:
    door.sign_in()
