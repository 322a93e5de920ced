"""The wire contract of designing: drafts, suggested clusters, links by distance, mesh files."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from meshtune.backend.schemas.runs import Wire
from meshtune.engine.config import Drawn, RunConfig, TaskWord
from meshtune.engine.plans import PlannedMerge


class DraftIn(Wire):
    """A config tree, valid or not, and the version it grew from."""

    tree: dict[str, Any] = Field(description="As the form has it")
    version: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Of the draft that is replaced; None for a new one"
    )


class DraftOut(Wire):
    """A draft as it is kept."""

    id: int
    version: int
    tree: dict[str, Any]
    updated_at: datetime


class ClustersIn(Wire):
    """Ask for the paper's clusters at the places of a drawn topology."""

    config: RunConfig
    collision_max: float = Field(0.3, ge=0, le=1, description="Largest collision rate")


class ClustersOut(Wire):
    """How the clusters come about, and the links they would have."""

    clusters: list[int] = Field(description="Cluster of each device")
    merges: list[PlannedMerge]
    links: list[tuple[int, int]]


class LinkCurveOut(Wire):
    """One link at growing distances."""

    distance_m: list[float]
    snr_db: list[float | None]
    rate_bit_s: list[float | None]
    outage_prob: list[float | None]
    range_m: float | None = Field(description="Where one message in ten is lost")


class MeshIn(Wire):
    """A mesh to write into a file."""

    format: Literal["json", "graphml"]
    topology: Drawn
    tasks: tuple[TaskWord, ...] | None = Field(None, max_length=256)


class MeshFileOut(Wire):
    """The text of a file that holds a mesh."""

    text: str
