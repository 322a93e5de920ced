"""What every test shares: no network, no settings from the shell, a database."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Engine

from backend.settings import Settings, open_store

# Before any test imports transformers, which reads these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Before any test imports torch: tests share the cores, and waiting threads must not take them.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# The first call into torch or networkx takes a second; that is not the slowness to hunt.
hypothesis_settings.register_profile(
    "meshtune", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("meshtune")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own."""
    parser.addoption("--rewrite", action="store_true", help="store new golden records")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether golden records are to be stored anew."""
    return bool(request.config.getoption("--rewrite"))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the person who runs the tests must not reach them."""
    for name in [name for name in os.environ if name.startswith("MESHTUNE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a state folder of their own."""
    return Settings(state_dir=tmp_path / ".state")


@pytest.fixture
def store(settings: Settings) -> Iterator[Engine]:
    """An empty database."""
    engine = open_store(settings)
    yield engine
    engine.dispose()
