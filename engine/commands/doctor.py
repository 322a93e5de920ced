"""Is this machine fit? Checks of what the engine needs, each with what to do about it."""

import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from pathlib import Path

from meshtune.engine.errors import AssetMissing

NEEDED_PYTHON = (3, 11)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Verdict(StrEnum):
    """How bad it is."""

    GOOD = "ok"
    NOTE = "note"  # works; could be better
    BAD = "fail"  # Meshtune does not work here


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found and, unless all is well, what to do."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def engine_checks() -> list[Check]:
    """Python, packages, processor, graphics card, model files, test browser."""
    return [
        check_python(),
        check_packages(pinned_versions(), installed_versions()),
        *check_processor(),
        check_model(),
        *check_fetched(),
        check_browser(),
    ]


def check_python() -> Check:
    """Python is new enough."""
    found = platform.python_version()
    if sys.version_info >= NEEDED_PYTHON:
        return Check("Python", Verdict.GOOD, found)
    needed = ".".join(str(part) for part in NEEDED_PYTHON)
    return Check("Python", Verdict.BAD, found, f"install Python {needed} or newer")


def pinned_versions() -> dict[str, str]:
    """The versions that this Meshtune was tested with; none if it came without its list."""
    pins = files("meshtune").joinpath("constraints.txt")
    if not pins.is_file():
        return {}
    lines = pins.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.strip(): pinned.strip() for name, pinned in pairs}


def installed_versions() -> dict[str, str | None]:
    """Versions of the packages that Meshtune asks for; None where one is missing."""
    found: dict[str, str | None] = {}
    for line in requires("meshtune") or []:
        requirement, _, marker = line.partition(";")
        if "extra ==" in marker or ("sys_platform" in marker and sys.platform not in marker):
            continue
        name = re.split(r"[^A-Za-z0-9_.-]", requirement.strip(), maxsplit=1)[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def check_packages(pinned: dict[str, str], installed: dict[str, str | None]) -> Check:
    """All packages are there, in the versions that were tested together."""
    missing = [name for name, found in installed.items() if found is None]
    if missing:
        names = ", ".join(missing)
        return Check("Packages", Verdict.BAD, f"missing: {names}", "run `make setup` again")
    pins = {_canonical(name): pin for name, pin in pinned.items()}
    versions = {name: found for name, found in installed.items() if found is not None}
    unknown = [name for name in versions if _canonical(name) not in pins]
    if unknown or not versions:
        names = ", ".join(unknown) if pins and unknown else "all packages"
        advice = "works most likely; install Meshtune from its wheel or with `make setup`"
        return Check("Packages", Verdict.NOTE, f"tested versions not known: {names}", advice)
    other = [
        f"{name} {found} (tested: {pins[_canonical(name)]})"
        for name, found in versions.items()
        if _public(found) != pins[_canonical(name)]
    ]
    if other:
        advice = "works most likely; `make setup` installs the tested versions"
        return Check("Packages", Verdict.NOTE, ", ".join(other), advice)
    return Check("Packages", Verdict.GOOD, f"{len(versions)} packages, all as tested")


def check_processor() -> list[Check]:
    """Cores, threads, bfloat16, and a graphics card, which nothing here uses."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    spread = Check("Cores", Verdict.GOOD, f"{cores} cores, {threads} threads")
    if cores is not None and threads > cores:
        advice = f"set OMP_NUM_THREADS={cores}; more threads than cores train slower"
        spread = Check("Cores", Verdict.NOTE, spread.found, advice)
    return [spread, _check_bfloat16(), _check_gpu()]


def _check_bfloat16() -> Check:
    from meshtune.engine.backbone.model import fast_precision

    if fast_precision() == "bfloat16":
        return Check("bfloat16", Verdict.GOOD, "multiplied in hardware, used by default")
    advice = "training uses float32, which is exact and about half as fast"
    return Check("bfloat16", Verdict.NOTE, "not in this processor", advice)


def _check_gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("GPU", Verdict.GOOD, f"{torch.cuda.get_device_name(0)}, not used")
    return Check("GPU", Verdict.GOOD, "none; none is needed")


def check_model() -> Check:
    """The embedded language model is on disk and can be read."""
    from safetensors import SafetensorError

    from meshtune.engine.backbone.embedded import embedded_parameters, embedded_tokenizer

    try:
        embedded_tokenizer()
        count = embedded_parameters()
    except (AssetMissing, OSError, ValueError, SafetensorError) as error:
        advice = "install the package again, with its weights"
        return Check("Language model", Verdict.BAD, str(error), advice)
    return Check("Language model", Verdict.GOOD, f"{count:,} parameters")


def check_fetched() -> list[Check]:
    """Every model in the state folder is whole."""
    from meshtune.engine.config import Model
    from meshtune.engine.errors import ConfigMismatch
    from meshtune.engine.models.door import check_model as check, described
    from meshtune.engine.models.stock import shelved

    found = []
    for name in shelved():
        model = Model(source="folder", path=name)
        try:
            check(model)
            found.append(Check("Fetched model", Verdict.GOOD, described(model)))
        except (AssetMissing, ConfigMismatch) as error:
            advice = f"`meshtune model remove {name}`, then fetch or copy it again"
            found.append(Check("Fetched model", Verdict.NOTE, str(error), advice))
    return found


def check_browser() -> Check:
    """A Chromium that the browser test can drive."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return Check("Chromium (tests only)", Verdict.GOOD, path)
    if any((Path.home() / ".cache" / "ms-playwright").glob("chromium*")):
        return Check("Chromium (tests only)", Verdict.GOOD, "playwright's own")
    advice = "`make test` installs one; nothing else needs it"
    return Check("Chromium (tests only)", Verdict.NOTE, "none", advice)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _public(found: str) -> str:
    """The version without its local part: 2.13.0+cpu is 2.13.0 built for the processor."""
    return found.partition("+")[0]
