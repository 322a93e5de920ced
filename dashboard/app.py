"""Entry of the dashboard: page settings and navigation, nothing else.

`python -m dashboard` serves it; dashboard/server.py adds the files that charts and map need.
"""

import streamlit as st

from dashboard import address, door, theme, tour
from dashboard.components import STATIC
from dashboard.state import COMPARE, DESIGN, GALLERY, LEARN, PLAYGROUND, RUN, VIEWS, mode

LOGO = str(STATIC / "logo.svg")
# A local file as page icon: Streamlit would fetch a Material icon from the network.
st.set_page_config(page_title="Meshtune", page_icon=LOGO, layout="wide")
st.logo(LOGO, size="medium")
inside = door.passed()
page = st.navigation(
    [
        st.Page(GALLERY, title="Gallery", icon=":material/grid_view:", default=True),
        st.Page(DESIGN, title="Design", icon=":material/hub:"),
        st.Page(RUN, title="Run", icon=":material/monitoring:"),
        st.Page(COMPARE, title="Compare", icon=":material/stacked_line_chart:"),
        st.Page(PLAYGROUND, title="Playground", icon=":material/forum:"),
        st.Page(LEARN, title="Learn", icon=":material/school:"),
        st.Page(VIEWS / "sweeps.py", title="Sweeps", icon=":material/apps:"),
    ],
    position="top" if inside else "hidden",
)
# Streamlit's own captions and primary buttons have too little contrast to be read by everybody.
st.html(theme.contrast_css(mode()))
if inside:
    door.plate()
    tour.panel()
    address.arrived(page.url_path)
    page.run()
else:
    door.sign_in()
