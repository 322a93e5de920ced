"""What can go wrong in the store, each with a sentence that says what to do next."""

from meshtune.engine.records import RunStatus


class StoreError(Exception):
    """Base of every error that the store raises on purpose."""


class RunNotFound(StoreError):
    """No run has this number."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"there is no run {run_id}; the list of runs has those that exist")
        self.run_id = run_id


class RunDeleted(RunNotFound):
    """The run with this number is hidden: somebody deleted it."""

    def __str__(self) -> str:
        return f"run {self.run_id} was deleted; it can be brought back within a day of that"


_NEXT_STEP = {
    RunStatus.QUEUED: "it waits for a worker; pause or cancel it",
    RunStatus.RUNNING: "pause or cancel it first",
    RunStatus.PAUSED: "resume or cancel it",
    RunStatus.COMPLETED: "clone it to run it again",
    RunStatus.DIVERGED: "clone it with a gentler config to run it again",
    RunStatus.CANCELLED: "clone it to run it again",
    RunStatus.FAILED: "retry it to go on, or clone it to run it again",
}


class IllegalTransition(StoreError):
    """What was asked of a run does not go from where it stands; `wanted` is what it should be."""

    def __init__(
        self, run_id: int, status: RunStatus, wanted: str, *, because: str | None = None
    ) -> None:
        super().__init__(
            f"run {run_id} is {status} and cannot be {wanted}; {because or _NEXT_STEP[status]}"
        )
        self.run_id = run_id
        self.status = status
        self.wanted = wanted


class ClaimLost(StoreError):
    """The lease of this worker is over: somebody else may own the run, so it must stop."""

    def __init__(self, run_id: int, fence: int) -> None:
        super().__init__(f"run {run_id} is no longer held under fence {fence}")
        self.run_id = run_id
        self.fence = fence


class StoreUnavailable(StoreError):
    """The database cannot be opened, written or reached right now."""


class UnreadableRound(StoreError):
    """A stored round of a run is damaged."""

    def __init__(self, run_id: int, round_index: int, field: str) -> None:
        super().__init__(
            f"round {round_index + 1} of run {run_id} is damaged in the database ({field}); "
            "restore a backup, or delete the run and train it again"
        )
        self.run_id = run_id
        self.round_index = round_index


class UnreadableConfig(StoreError):
    """The stored config of a run does not fit this version."""

    def __init__(self, run_id: int, field: str, sentence: str) -> None:
        super().__init__(
            f"the config of run {run_id} was stored by another version of Meshtune: "
            f"{field}: {sentence}"
        )
        self.run_id = run_id
        self.field = field
