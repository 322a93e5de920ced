"""Light modules stay light: importing them must not load torch."""

import subprocess
import sys

import pytest

LIGHT = [
    "engine.config",
    "engine.records",
    "engine.presets",
    "engine.topology",
    "engine.channels",
    "engine.plan",
    "engine.ledger",
    "engine.cli",
    "engine.doctor",
    "db.runs",
    "db.models",
    "db.session",
    "backend.schemas",
    "backend.app",
    "backend.cli",
    "backend.up",
    "backend.worker",
]
SHOWING = ["backend.schemas", "backend.compare_schemas", "dashboard.compare_report"]
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


def test_a_process_that_trains_loads_no_more_than_it_needs() -> None:
    """Importing transformers takes twice as long as all else before the first step."""
    code = (
        "import sys; from backend.trainer import load_engine; load_engine(); import torch\n"
        "print([n for n in ('transformers', 'peft', 'torch._dynamo') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
