"""The HTML report of a comparison, for the API and the command line.

Who draws pages announces a program for it, which takes a `ReportInput` and gives a page. A process
of its own also keeps pandas and Plotly out of the API.
"""

import os
import subprocess
import sys
from contextlib import suppress

from meshtune.backend.errors import ReportFailed
from meshtune.backend.schemas.compare import ReportInput
from meshtune.backend.services.announced import NotAnnounced, module_of

PATIENCE_S = 60.0
NICE = 5  # so that short answers come first, also where reports take every core


def report_html(given: ReportInput) -> bytes:
    """The report as a page that needs no network.

    Raises:
        ReportFailed: what makes it is not there, broke off, or took too long.
    """
    with subprocess.Popen(
        drawing_command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        _stand_back(child.pid)
        try:
            made, said = child.communicate(given.model_dump_json().encode(), PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise ReportFailed(
                f"the report was not ready within {PATIENCE_S:.0f} s; ask for fewer runs"
            ) from error
        finally:
            child.kill()  # as good as nothing once it has ended
    if child.returncode != 0:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise ReportFailed(f"the report could not be made: {''.join(last) or 'no reason given'}")
    return made


def drawing_command() -> list[str]:
    """What draws a report from standard input to standard output.

    Raises:
        ReportFailed: nothing does here.
    """
    try:
        return [sys.executable, "-m", module_of("report")]
    except NotAnnounced as error:
        raise ReportFailed(str(error)) from error


def _stand_back(pid: int) -> None:
    with suppress(AttributeError, OSError):  # not on Windows; or it has ended already
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
