"""The HTML report of a comparison, for the API and the command line.

Pages are the dashboard's, and a layer below does not import it: a process of its own makes the
report, so the API also stays without pandas and Plotly.
"""

import subprocess
import sys
from threading import BoundedSemaphore

from backend.compare_schemas import ReportInput

COMMAND = ("-m", "dashboard.compare_report")
PATIENCE_S = 60.0
AT_ONCE = 2  # each takes a core for two seconds

_places = BoundedSemaphore(AT_ONCE)


class ReportFailed(Exception):
    """No report came about; the message is one sentence."""


def report_html(given: ReportInput) -> bytes:
    """The report as a page that needs no network.

    Raises:
        ReportFailed: what makes it broke off, or took too long.
    """
    with _places:
        try:
            made = subprocess.run(
                [sys.executable, *COMMAND],
                input=given.model_dump_json().encode(),
                capture_output=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ReportFailed(
                f"the report was not ready within {PATIENCE_S:.0f} s; ask for fewer runs"
            ) from error
    if made.returncode != 0:
        last = made.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ReportFailed(f"the report could not be made: {''.join(last) or 'no reason given'}")
    return made.stdout
