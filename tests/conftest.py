"""What every test shares: no network, no settings from the shell, a database.

Tests of `ON_BOTH` run twice, on SQLite and on a real PostgreSQL, without knowing of it: the address
of the database is where every part finds it, in the environment.
"""

import asyncio
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import HealthCheck, settings as hypothesis_settings
from sqlalchemy import Engine

from meshtune.backend.settings import Settings, open_store
from tests.support import handbook as handbooks, postgres as private

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
    parser.addoption("--fast", action="store_true", help="leave out what `make test-fast` does")


# What reads or writes the store by way of the fixtures `store` and `settings`.
ON_BOTH = {
    "tests/integration/test_live.py",
    "tests/integration/test_recovery.py",
    "tests/integration/test_worker.py",
    "tests/unit/backend/test_api.py",
    "tests/unit/backend/test_auth.py",
    "tests/unit/backend/test_control_api.py",
    "tests/unit/backend/test_health.py",
    "tests/unit/backend/test_live.py",
    "tests/unit/backend/test_metrics.py",
    "tests/unit/backend/test_sweep_api.py",
    "tests/unit/db/test_control.py",
    "tests/unit/db/test_runs.py",
    "tests/unit/db/test_sweeps.py",
}


# What drives a browser, a server or a worker, or trains for its checks: `make test-fast` has none.
SLOW = {
    *(f"tests/{name}" for name in ("browser", "dashboard", "extensions", "fuzz", "integration")),
    *(f"tests/{name}" for name in ("load", "postgres", "statistical", "torture")),
    "tests/guards/test_preset_results.py",
    "tests/unit/backend/test_bundle.py",
    "tests/unit/engine/test_backbone.py",
    "tests/unit/engine/test_bench_air.py",
    "tests/unit/engine/test_changing.py",
    "tests/unit/engine/test_divergence.py",
    "tests/unit/engine/test_dry_run.py",
    "tests/unit/engine/test_evaluate.py",
    "tests/unit/engine/test_generic_world.py",
    "tests/unit/engine/test_ledger.py",
    "tests/unit/engine/test_playground.py",
    "tests/unit/engine/test_preset_bits.py",
    "tests/unit/engine/test_push_sum.py",
    "tests/unit/engine/test_relevance.py",
    "tests/unit/engine/test_simulate.py",
}


# What plays whole runs, whose shapes test_simulate.py checks at every call for each method: three
# quarters of the time of such a run is that check.
UNCHECKED = {
    *(f"tests/{name}" for name in ("golden", "integration", "statistical")),
    "tests/guards/test_preset_results.py",
    *(
        f"tests/unit/engine/test_{name}.py"
        for name in (
            *("alike", "bench_air", "changing", "divergence", "dry_run", "evaluate"),
            *("generic_world", "own_tasks", "partition", "peft_start"),
            *("ledger", "playground", "preset_bits", "push_sum", "radio", "relevance"),
        )
    ),
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Leave out the check of shapes where others make it."""
    path = item.path.relative_to(item.config.rootpath)
    places = {path.as_posix(), *(parent.as_posix() for parent in path.parents)}
    jaxtyping.config.update("jaxtyping_disable", bool(places & UNCHECKED))
    return (yield)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what is slow, where that is asked for."""
    place = collection_path.relative_to(config.rootpath).as_posix()
    return True if config.getoption("--fast") and place in SLOW else None


def pytest_configure(config: pytest.Config) -> None:
    """Marks of our own."""
    config.addinivalue_line("markers", "sqlite: of what no other database has a part in")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of the store on both databases."""
    path = metafunc.definition.path.relative_to(metafunc.config.rootpath).as_posix()
    if path not in ON_BOTH or not {"store", "settings"} & set(metafunc.fixturenames):
        return
    fast = metafunc.config.getoption("--fast")
    if metafunc.definition.get_closest_marker("sqlite") is None and not fast:
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[private.Server]:
    """A PostgreSQL server, started when the first test asks for it."""
    try:
        programs = private.programs()
    except private.NoPostgres as error:
        # Whoever changes code elsewhere is told; where all must have run it is a failure.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    with private.running(bin_dir=programs) as server:
        yield server


@pytest.fixture(scope="session")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the handbook, built strictly, once for all tests."""
    own = tmp_path_factory.getbasetemp()
    return handbooks.built(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Address of the database of a test; None for a SQLite file in its state folder."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield None
        return
    server: private.Server = request.getfixturevalue("postgres")
    url = server.new_database()
    yield url
    server.drop(url)


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether golden records are to be stored anew."""
    return bool(request.config.getoption("--rewrite"))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, database: str | None) -> None:
    """Settings of the person who runs the tests must not reach them; the database does."""
    for name in [name for name in os.environ if name.startswith("MESHTUNE_")]:
        monkeypatch.delenv(name)
    # What trains in a test is what the test waits for: beside a busy machine it must not give way.
    monkeypatch.setenv("MESHTUNE_WORKER_NICE", "0")
    if database is not None:
        monkeypatch.setenv("MESHTUNE_DATABASE_URL", database)
    # Streamlit puts its scripts here; what is spawned would run the last one again.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(autouse=True)
def _own_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Playwright's loop stays marked as running between its calls; other tests run loops too."""
    if request.node.get_closest_marker("browser") is not None:
        yield
        return
    waiting = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(waiting)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a state folder of their own."""
    return Settings(state_dir=tmp_path / ".state")


@pytest.fixture
def store(settings: Settings) -> Iterator[Engine]:
    """An empty database."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)  # tests put logs there
    engine = open_store(settings)
    yield engine
    engine.dispose()
