"""What can go wrong in the store, each with a sentence that says what to do next."""

from engine.records import ENDED, RunStatus


class StoreError(Exception):
    """Base of every error that the store raises on purpose."""


class RunNotFound(StoreError):
    """No run has this number."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"there is no run {run_id}; GET /runs lists those that exist")
        self.run_id = run_id


class IllegalTransition(StoreError):
    """The run cannot make this move from where it stands."""

    def __init__(self, run_id: int, status: RunStatus, wanted: RunStatus) -> None:
        over = "has ended already" if status in ENDED else "has not ended"
        super().__init__(f"run {run_id} {over}: it is {status} and cannot become {wanted}")
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


class UnreadableConfig(StoreError):
    """The stored config of a run does not fit this version."""

    def __init__(self, run_id: int, field: str, sentence: str) -> None:
        super().__init__(
            f"the config of run {run_id} was stored by another version of Meshtune: "
            f"{field}: {sentence}"
        )
        self.run_id = run_id
        self.field = field
