"""Places in the stream of events, as the ids of events name them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshtune.db.changes import Head

RUN_CURSOR = r"^[0-9]{1,18}-[0-9]{1,9}$"
LIST_CURSOR = r"^[0-9]{1,18}(~[0-9]{1,10}=[0-9]{1,9}(,[0-9]{1,10}=[0-9]{1,9})*)?$"


@dataclass(frozen=True)
class RunCursor:
    """What a follower of one run has: all up to this event, and so many rounds."""

    event_id: int = 0
    rounds: int = 0

    def __str__(self) -> str:
        return f"{self.event_id}-{self.rounds}"

    def behind(self, head: Head) -> bool:
        """Whether the run has more."""
        return self.event_id < head.event_id or self.rounds < head.rounds_done


@dataclass(frozen=True)
class ListCursor:
    """What a follower of all runs has: all up to this event, and the rounds of running runs."""

    event_id: int
    rounds: Mapping[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ",".join(f"{run_id}={done}" for run_id, done in sorted(self.rounds.items()))
        return f"{self.event_id}~{counts}" if counts else str(self.event_id)

    def after(self, event_id: int, run_id: int, rounds: int | None) -> "ListCursor":
        """With one run seen as it is now; `rounds` is None unless it is running."""
        others = {i: done for i, done in self.rounds.items() if i != run_id}
        seen = others if rounds is None else others | {run_id: rounds}
        return ListCursor(max(self.event_id, event_id), seen)


def run_cursor(written: str | None) -> RunCursor:
    """The cursor that an event id names; the beginning if there is none."""
    if written is None:
        return RunCursor()
    event_id, _, rounds = written.partition("-")
    return RunCursor(int(event_id), int(rounds))


def list_cursor(written: str) -> ListCursor:
    """The cursor that an event id names."""
    event_id, _, counts = written.partition("~")
    pairs = (pair.split("=") for pair in counts.split(",") if pair)
    return ListCursor(int(event_id), {int(run_id): int(done) for run_id, done in pairs})
