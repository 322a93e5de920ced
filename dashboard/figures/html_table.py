"""Small tables as HTML: text that can be selected, read aloud and printed. Pure.

A grid of Streamlit's is drawn on a canvas and has many scripts to load; a table of some rows needs
neither.
"""

from collections.abc import Mapping
from html import escape

import pandas as pd

STYLE = """<style>
.mt-table { --mt-line: color-mix(in srgb, currentColor 16%, transparent); overflow-x: auto;
  border: 1px solid var(--mt-line); border-radius: 6px; }
.mt-table:focus-visible { outline: 2px solid currentColor; }
.mt-table table { border-collapse: collapse; width: 100%; margin: 0; font-size: 13px;
  font-variant-numeric: tabular-nums; }
.mt-table th, .mt-table td { text-align: left; padding: 6px 10px; white-space: nowrap;
  border: 0; border-bottom: 1px solid var(--mt-line); }
.mt-table tbody tr:last-child > * { border-bottom: 0; }
.mt-table thead th { background: color-mix(in srgb, currentColor 4%, transparent); }
.mt-table th { font-weight: 600; }
.mt-table th[title] { cursor: help; text-decoration: underline dotted;
  text-underline-offset: 3px; }
</style>"""


def html_table(frame: pd.DataFrame, caption: str, helps: Mapping[str, str] | None = None) -> str:
    """`frame` as a table that scrolls sideways where it must; its first column names the rows.

    Args:
        frame: texts; an index that is not a plain count becomes the first column.
        caption: what the table is, for who hears it.
        helps: how a column is computed, shown on hover.
    """
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(names=frame.index.name or "")
    told = helps or {}
    head = "".join(
        f'<th scope="col"{_title(told.get(str(name)))}>{escape(str(name))}</th>'
        for name in frame.columns
    )
    body = "".join(
        f'<tr><th scope="row">{escape(str(first))}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in frame.to_numpy().tolist()
    )
    return (
        f'<div class="mt-table" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _title(text: str | None) -> str:
    return f' title="{escape(text)}"' if text else ""
