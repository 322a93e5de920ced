"""What a preset gave when it was run for the package, so that one sees results before any run."""

from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from meshtune.engine import quantities as words
from meshtune.engine.config import TaskName
from meshtune.engine.records import Provenance


class StoredResult(BaseModel):
    """One run of a preset: its curves, short. Lists have one value per evaluated round."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config_sha256: str = Field(description="Of the config that was run; another one is stale")
    seed: int
    round: tuple[int, ...] = Field(description="Finished rounds")
    accuracy_own: tuple[float, ...] = Field(title=words.OWN_TASK.word)
    accuracy_all: tuple[float, ...] = Field(title=words.ALL_TASKS.word)
    before_exchange: tuple[float | None, ...] = Field(
        description="Accuracy on the own task before the exchange of the round"
    )
    bits: tuple[int, ...] = Field(title=words.BITS_SENT.word, description="Since the first round")
    airtime_s: tuple[float, ...] = Field(
        title=words.AIRTIME.word, description="Since the first round"
    )
    tasks: dict[TaskName, float] = Field(description="Final accuracy, mean over all devices")
    wall_s: float = Field(
        title=words.MACHINE_TIME.word, description="What the run took where it was recorded"
    )
    provenance: Provenance


def stored_result(name: str) -> StoredResult | None:
    """The stored result of a preset; None if none was recorded."""
    file = files("meshtune.engine.presets") / "results" / f"{name}.json"
    if not file.is_file():
        return None
    return StoredResult.model_validate_json(file.read_text(encoding="utf-8"))
