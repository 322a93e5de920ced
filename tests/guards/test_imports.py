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
HEAVY = ("torch", "transformers", "peft", "streamlit")


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_process_that_trains_loads_no_more_than_it_needs() -> None:
    """Importing transformers takes twice as long as all else before the first step."""
    code = (
        "import sys; from backend.trainer import load_engine; load_engine(); import torch\n"
        "print([n for n in ('transformers', 'peft', 'torch._dynamo') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
