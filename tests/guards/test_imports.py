"""Light modules stay light: importing them must not load torch."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

LIGHT = [
    "meshtune.engine.config",
    "meshtune.engine.records",
    "meshtune.engine.presets",
    "meshtune.engine.topology",
    "meshtune.engine.channels",
    "meshtune.engine.planning.plan",
    "meshtune.engine.ledger",
    "meshtune.engine.commands.app",
    "meshtune.engine.data.dataset",
    "meshtune.engine.commands.doctor",
    "meshtune.db.runs",
    "meshtune.db.models",
    "meshtune.db.session",
    "meshtune.backend.schemas.runs",
    "meshtune.backend.app",
    "meshtune.backend.commands.main",
    "meshtune.backend.services.up",
    "meshtune.backend.training.supervisor",
]
SHOWING = [
    "meshtune.backend.schemas.runs",
    "meshtune.backend.schemas.compare",
    "meshtune.dashboard.compare.report",
]
LAYERS = ["dashboard", "backend", "db", "engine"]  # from above
ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "peft", "streamlit")


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(module, HEAVY) == "[]"


@pytest.mark.parametrize("module", SHOWING)
def test_what_only_shows_a_plan_loads_no_radio(module: str) -> None:
    # A second of processor time, which a report in a process of its own would pay every time.
    assert loaded_by(module, ("scipy", "networkx")) == "[]"


def loaded_by(module: str, names: tuple[str, ...]) -> str:
    code = f"import sys, {module}; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("layer", LAYERS[1:])
def test_no_layer_names_a_module_of_one_above(layer: str) -> None:
    """A name in a string starts a process as an import would load it, and no contract sees it."""
    above = "|".join(LAYERS[: LAYERS.index(layer)])
    named = re.compile(rf"\bmeshtune\.({above})\b")
    files = (ROOT / layer).rglob("*.py")
    assert [str(file) for file in files if named.search(file.read_text("utf-8"))] == []


def test_a_process_that_trains_loads_no_more_than_it_needs() -> None:
    """Importing transformers takes twice as long as all else before the first step."""
    code = (
        "import sys; from meshtune.backend.training.engine import load_engine\n"
        "load_engine(); import torch\n"
        "print([n for n in ('transformers', 'peft', 'torch._dynamo') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Each takes a tenth of a second of processor time or more, and no round needs it at once.
LATER = ("transformers", "peft", "scipy", "networkx", "pandas", "rich", "typer", "torch._dynamo")


def test_the_round_loop_loads_torch_and_little_else() -> None:
    assert loaded_by("meshtune.engine.simulate", LATER) == "[]"


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["sweep", "--help"]])
def test_help_waits_for_nothing_that_computes_or_stores(words: list[str]) -> None:
    code = (
        "import sys; from meshtune.backend.commands.main import app\n"
        f"app({words}, standalone_mode=False)\n"
        "heavy = ('torch', 'numpy', 'jaxtyping', 'sqlalchemy', 'alembic', 'fsspec')\n"
        "print([n for n in heavy if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
