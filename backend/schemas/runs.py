"""The wire contract: what the API takes and gives. Light, so that the dashboard shares it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from meshtune.engine import quantities as words
from meshtune.engine.config import Drawn, RunConfig, TaskName, name_problem
from meshtune.engine.plans import Plan
from meshtune.engine.presets.stored import StoredResult
from meshtune.engine.records import Provenance, RoundRecord, RunStatus


class Wire(BaseModel):
    """Base of every body on the wire."""

    model_config = ConfigDict(extra="forbid")


def _seen(name: str) -> str:
    if unseen := name_problem(name):
        raise PydanticCustomError("unseen", "{sentence}", {"sentence": unseen})
    return name


# A zero byte cannot be stored in PostgreSQL; other control characters break lines of lists.
Title = Annotated[
    str,
    Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$"),
    AfterValidator(_seen),
]
Note = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]


class RunCreate(Wire):
    """Ask for a run: the config, whole."""

    config: RunConfig
    cloned_from: int | None = Field(
        None, ge=1, le=2**31 - 1, description="The run whose config this is, perhaps edited"
    )
    note: Note | None = Field(None, description="What people want to remember about it")


class RunPatch(Wire):
    """What can be changed about a run at any time; fields left out stay as they are."""

    priority: int | None = Field(
        None, ge=-100, le=100, description="Queued runs of a higher priority go first"
    )
    note: Note | None = Field(None, description="An empty note takes it away")
    name: Title | None = Field(
        None, description="What lists call it; its config stays as it was run"
    )


class RunSummary(Wire):
    """One run in a list."""

    id: int
    name: str
    status: RunStatus
    method: str
    seed: int
    devices: int
    rounds_done: int
    rounds_total: int
    cancel_requested: bool = Field(description="It runs, and its worker was told to stop it")
    pause_requested: bool = Field(False, description="It runs, and its worker was told to pause")
    priority: int = Field(0, description="Queued runs of a higher priority go first")
    note: str | None = None
    cloned_from: int | None = Field(None, description="The run whose config it began with")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deleted_at: datetime | None = Field(None, description="Hidden since; kept for a day")
    accuracy_own: float | None = Field(
        title=words.OWN_TASK.word, description="Of the last evaluated round"
    )
    accuracy_all: float | None = Field(
        title=words.ALL_TASKS.word, description="Of the last evaluated round"
    )
    sent_bits: int = Field(title=words.BITS_SENT.word, description="Sum over finished rounds")
    airtime_s: float = Field(title=words.AIRTIME.word, description="Sum over finished rounds")
    energy_j: float = Field(title=words.TRANSMIT.word, description="Sum over finished rounds")
    reason: str | None = Field(description="Why it failed, diverged or was cancelled")


class RunEventOut(Wire):
    """One thing that happened to a run."""

    id: int
    at: datetime
    kind: str
    actor: str = Field("", description="`person`, `token NAME`, or the name of a worker")
    detail: str | None = Field(description="The reason, or what changed")


class RunDetail(RunSummary):
    """One run, whole but for its rounds."""

    config: RunConfig
    config_sha256: str
    provenance: Provenance | None
    events: list[RunEventOut]
    progress: float = Field(ge=0.0, le=1.0, description="Share of the current round's steps done")
    seconds_left: float | None


class RunList(Wire):
    """Newest first."""

    runs: list[RunSummary]
    next_before: int | None = Field(
        description="Pass as `before` for the next page; None at the end"
    )


class RoundPage(Wire):
    """Rounds after the one asked for, oldest first."""

    status: RunStatus
    rounds_done: int
    rounds_total: int
    rounds: list[RoundRecord]


class PresetOut(Wire):
    """One named experiment."""

    name: str
    group: str
    title: str
    question: str
    watch: str
    duration: str
    config: RunConfig
    result: StoredResult | None = Field(None, description="What it gave when it was last recorded")


class FieldProblem(Wire):
    """What is wrong with one field of a config, and what to do."""

    field: str = Field(description="Dotted name, or `config` if it is no single field")
    message: str = Field(description="One sentence")


class PlanOut(Wire):
    """What a config will mean before it runs, and what keeps it from running."""

    plan: Plan | None = Field(description="None if it cannot be computed; `problems` say why")
    problems: tuple[FieldProblem, ...] = Field(description="A run is refused unless this is empty")


class TopologyFile(Wire):
    """The text of a file that holds a mesh: JSON, GraphML, GML or Pajek."""

    format: Literal["json", "graphml"] | None = Field(
        None, description="Not needed: the content says what it is"
    )
    text: str


class TopologyOut(Wire):
    """A mesh as the branch `topology` of a config takes it."""

    topology: Drawn
    tasks: tuple[TaskName, ...] | None = Field(
        description="Task of each device; None if the file names none"
    )
    notes: tuple[str, ...] = Field(
        (), description="What the file does not say: places made up or moved, links put together"
    )


class SessionOut(Wire):
    """Who asks, and what they may do here."""

    name: str | None = Field(description="Of the token; none where no token is asked for")
    scope: Literal["read", "run", "admin"] = Field(description="Each includes the ones before")


class Health(Wire):
    """Is the service up, and what does it run."""

    status: str
    version: str
    database: str
    queued: int
    running: int
    workers: int = Field(description="Workers that gave a sign of life lately")


class Problem(Wire):
    """The one shape of every error."""

    error: str = Field(description="Stable name, e.g. RunNotFound")
    detail: str = Field(description="One sentence: what is wrong and what to do")
    context: dict[str, Any] = Field(default_factory=dict)
