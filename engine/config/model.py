"""Which language model the devices adapt."""

from typing import Any, Literal

from pydantic import Field, model_validator

from meshtune.engine.config.errors import misfit
from meshtune.engine.fields import Part, Sha256, matters_if

SHIPPED = ("embedded", "alike")
SEEN_ONLY = r"^[^\x00-\x1f\x7f]*$"


class Model(Part):
    """The language model that all devices hold and none changes."""

    source: Literal["embedded", "alike", "folder", "hub", "pip"] = Field(
        "embedded",
        title="Language model",
        description="Embedded and alike ship with Meshtune, each for its own tasks; those of alike "
        "are hard to tell apart. Folder has safetensors and config.json. Hub is "
        "one that the cache of Hugging Face holds already. Pip is one that `meshtune model fetch` "
        "made.",
    )
    path: str = Field(
        "",
        max_length=500,
        pattern=SEEN_ONLY,
        title="Folder or name",
        description="Whole path of the folder, or its name below models/ of the state folder; on "
        "the hub owner/name; after a fetch the name.",
        json_schema_extra=matters_if("model.source", none_of=SHIPPED),
    )
    sha256: Sha256 = Field(
        "",
        title="Hash of the weights",
        description="SHA-256 that the weights must have, in hex; empty takes any. "
        "`meshtune model show` and the provenance of a run tell it.",
        json_schema_extra=matters_if("model.source", none_of=SHIPPED),
    )

    @model_validator(mode="after")
    def _is_named(self) -> "Model":
        if not is_shipped(self) and not self.path.strip():
            wanted = {"folder": "the folder", "hub": "owner/name", "pip": "the name"}[self.source]
            raise misfit(
                "model.path",
                f"model.source is {self.source} but model.path is empty; give it {wanted}",
            )
        return self


def is_shipped(model: Model) -> bool:
    """Whether this is a model of the package."""
    return model.source in SHIPPED


def is_embedded(model: Model) -> bool:
    """Whether this is the model of a config that names none."""
    return model.source == "embedded"


def least_version(tree: Any) -> Any:
    """The tree of a config with the lowest version of the schema that says all of it.

    Version 2 names a model, brings tasks along, mixes them on devices, or starts from an adapter.
    Other configs stay version 1: their text and hash are what they were, and an older Meshtune
    reads them.
    """
    if not isinstance(tree, dict) or tree.get("schema_version", 1) not in (1, 2):
        return tree
    partition = _told(tree.get("fleet"), "partition")
    news = (
        _told(tree.get("model"), "source") not in (None, "embedded"),
        tree.get("tasks"),
        _told(partition, "kind") not in (None, "one_task"),
        _told(tree.get("fleet"), "declined") not in (None, 1.0),
        _told(tree.get("adapter"), "start_from"),
    )
    return {**tree, "schema_version": 2 if any(news) else 1}


def _told(part: Any, field: str) -> Any:
    return part.get(field) if isinstance(part, dict) else getattr(part, field, None)
