"""What `meshtune export` needs of several runs: the report, or the one run that a file holds."""

from collections.abc import Sequence

from sqlalchemy import Engine

from meshtune.backend.compare import replies as compare_replies
from meshtune.backend.compare.report import report_html
from meshtune.backend.errors import ReportFailed
from meshtune.backend.schemas.compare import POINTS_MAX, ReportInput, Shown
from meshtune.db import runs
from meshtune.db.session import reading
from meshtune.engine.commands.console import Refused
from meshtune.engine.methods.registry import REFERENCE


def report(store: Engine, numbers: Sequence[int]) -> bytes:
    """Page that compares these runs; the first one is the reference if none is plain LoRA gossip.

    Raises:
        Refused: there are too many runs, or the page cannot be made.
    """
    wanted = list(dict.fromkeys(numbers))
    if len(wanted) > runs.COMPARED_MAX:
        raise Refused(f"{len(wanted)} runs are too many for a page; {runs.COMPARED_MAX} fit")
    memory = compare_replies.Memory()
    with reading(store) as session:
        found = [runs.get(session, number) for number in wanted]
        group = compare_replies.groups(session, found, memory)
        plain = [run.id for run in found if run.method == REFERENCE]
        reference = next(iter([*plain, *wanted]))
        given = ReportInput(
            study=compare_replies.study(session, found, POINTS_MAX, memory),
            paired=compare_replies.compared_groups(found, group, reference),
            shown=Shown.model_validate({}),
        )
    try:
        return report_html(given)
    except ReportFailed as error:
        raise Refused(str(error)) from error


def single(numbers: Sequence[int], form: str) -> int:
    """The one run that a file of this format holds.

    Raises:
        Refused: several are named.
    """
    if len(numbers) > 1:
        raise Refused(f"--format {form} takes one run; --format html compares several")
    return numbers[0]
