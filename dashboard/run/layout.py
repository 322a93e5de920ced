"""Where the parts of the Run view stand: one bar that stays, and rows without empty places."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from meshtune.dashboard.look.theme import HAIRLINE, PAPER, Mode

HEADER = "3.75rem"  # of Streamlit's own bar, below which ours stays
# What a name or a button says stays for who hears it, where there is only room for its icon.
UNSEEN = "position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);"


def style(mode: Mode) -> None:
    """The style sheet of the view."""
    line, paper = HAIRLINE.of(mode), PAPER.of(mode)
    st.html(f"""<style>
.stMainBlockContainer:has(.st-key-run-bar) {{ padding: 2.75rem 1.5rem 1rem; }}
.st-key-steady:has(.st-key-run-bar) {{ gap: 8px; }}
[data-testid=stLayoutWrapper]:has(> .st-key-run-bar) {{ position: sticky; top: {HEADER};
  z-index: 990; background: {paper}; border-bottom: 1px solid {line}; }}
.st-key-run-bar {{ position: relative; gap: 2px; padding: 4px 0; min-height: 84px; }}
.st-key-run-bar button {{ min-height: 34px; height: 34px; }}
.st-key-run-head, .st-key-replay, .st-key-run-status {{ flex-wrap: nowrap; gap: 6px; }}
.st-key-run-head h1 {{ font-size: 18px; padding: 0; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }}
.st-key-run-head > :has(h1) {{ flex: 1 1 60px; min-width: 60px; }}
.st-key-run-head > :has(.st-key-run-status) {{ flex: 0 1 auto; min-width: 0; width: auto; }}
.st-key-run-status {{ overflow: hidden; }}
.st-key-run-status p {{ white-space: nowrap; }}
.st-key-run-bar > :has(> .stProgress) {{ position: absolute; bottom: 0; height: 3px; }}
.st-key-run-bar .stProgress [role=progressbar] * {{ height: 3px; }}
.st-key-replay .stButton [data-testid=stMarkdownContainer] {{ {UNSEEN} }}
.st-key-replay .stButton button {{ min-width: 34px; padding: 0; }}
.st-key-replay [data-testid=stSliderTickBar] {{ display: none; }}
.st-key-run-marker {{ position: absolute; }}
.st-key-findings {{ gap: 0 18px; }}
.st-key-findings button {{ min-height: 24px; padding: 0; text-align: left; }}
.st-key-findings button p {{ white-space: normal; text-decoration: underline dotted;
  text-underline-offset: 3px; }}
.st-key-plan .mt-table td {{ white-space: normal; }}
[class*="st-key-panes"] {{ flex-direction: row; flex-wrap: wrap; align-items: stretch;
  gap: 12px 16px; }}
[class*="st-key-panes"] > * {{ flex: 1 1 340px; min-width: min(340px, 100%);
  width: auto !important; }}
.st-key-pane-layers {{ flex-basis: 100%; }}
.st-key-panes-tiles {{ gap: 8px; }}
[data-testid=stLayoutWrapper]:has(> .st-key-panes-numbers), .st-key-panes-numbers {{
  display: contents; }}
.st-key-panes-tiles > *, .st-key-panes-numbers > * {{ flex: 1 1 138px;
  min-width: 138px; }}
.st-key-panes-tiles [data-testid=stMetric], .st-key-panes-tiles [data-testid=stMetric] > div {{
  padding: 0; }}
.st-key-panes-tiles [data-testid=stMetric] {{ padding: 6px 10px; }}
.st-key-panes-tiles [data-testid=stMetricValue] {{ font-size: 18px; line-height: 24px; }}
.st-key-panes-tiles [data-testid=stMetricDelta] {{ font-size: 12px; padding: 0 4px; }}
@media (max-width: 1000px) {{
  .st-key-run-head button [data-testid=stMarkdownContainer] {{ {UNSEEN} }}
  .st-key-run-head button {{ min-width: 34px; padding: 0; }}
  [data-testid=stLayoutWrapper]:has(> .st-key-run-origin) {{ display: none; }}
}}
@media (max-width: 640px) {{
  .stMainBlockContainer:has(.st-key-run-bar) {{ padding: 2.75rem 1rem 1rem; }}
  .st-key-replay > :has(.stSelectbox) {{ display: none; }}
  .st-key-run-status .stMarkdownBadge {{ font-size: 0 !important; }}
  .st-key-run-status [role=img] {{ font-size: 16px; }}
  .st-key-run-tabs button {{ padding: 0 9px; }}
}}
</style>""")


def panes(name: str) -> DeltaGenerator:
    """A row of pictures of equal width that fills every line that it needs."""
    return st.container(key=f"panes-{name}")
