"""Any request that the OpenAPI of the API allows, and many that it forbids, is answered as it says.

Every answer has a documented status, fits its schema, and is never a 5xx. Streams of events do not
end, so they are left out.
"""

import sys
from collections.abc import Iterator

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import Phase, settings as budget
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from meshtune.backend import fetching
from meshtune.backend.app import create_app
from meshtune.backend.settings import Settings, open_store
from meshtune.db import leases
from meshtune.db.session import writing
from meshtune.engine.records import RunStatus
from tests.support.builders import stored_run

PATIENCE_S = 120.0  # a busy machine is slow, which is not what is asked here


class Relay:
    """The app that a test has set; until then one that has no store and only tells its OpenAPI."""

    def __init__(self) -> None:
        self.app: ASGIApp = create_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        assert scope["type"] == "http", "the fixture starts and stops the app"
        await self.app(scope, receive, send)


RELAY = Relay()
# A schema cannot say what fields demand of one another, and pydantic reads the text "3" as a 3.
SILENT = [positive_data_acceptance, negative_data_rejection]
STREAM = r"/stream$"
# Bodies that are whole configs have thousands of edge cases: test_configs.py draws among them.
LARGE = r"^/(runs|plan|sweeps|topology/link-curve|topology/clusters)$"
DEAR = r"^/(compare/report|learn/subspaces)$"  # half a second each: not with every odd parameter
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", RELAY).exclude(path_regex=STREAM)
# What a zip file may hold is fuzzed where bundles are tested.
SMALL_BODIES = SCHEMA.exclude(path_regex=LARGE, method="POST")
SMALL_BODIES = SMALL_BODIES.exclude(path="/runs/import").exclude(path_regex=DEAR)
SELDOM = schemathesis.openapi.from_asgi("/openapi.json", RELAY)
SELDOM = SELDOM.include(path_regex=LARGE, method="POST").include(path_regex=DEAR)
SELDOM.config.phases.coverage.enabled = False
BOUNDED = budget(
    max_examples=10,
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking a failure would take minutes
)


@pytest.fixture(scope="module", autouse=True)
def _app_with_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An app over a store with a run of every kind; fuzzing is no script gone wild."""
    state = tmp_path_factory.mktemp("fuzz")
    settings = Settings(
        state_dir=state,
        writes_per_s=1e6,
        writes_burst=10**6,
        reads_per_s=1e6,
    )
    store = open_store(settings)
    for status in (RunStatus.COMPLETED, RunStatus.QUEUED, RunStatus.FAILED, RunStatus.RUNNING):
        stored_run(store, rounds=int(status is not RunStatus.QUEUED), status=status)
    with writing(store) as session:
        leases.worker_beat(session, "w", slots=1, lease_s=3600.0)
    store.dispose()
    app = create_app(settings)
    with pytest.MonkeyPatch.context() as patch, TestClient(app):
        patch.setenv("MESHTUNE_STATE_DIR", str(state))  # where files of rows are kept
        patch.setattr(fetching, "COMMAND", (sys.executable, "-c", "raise SystemExit('offline')"))
        RELAY.app = app
        yield


@SMALL_BODIES.parametrize()
@BOUNDED
def test_every_answer_is_as_documented(case: schemathesis.Case) -> None:
    case.call_and_validate(excluded_checks=SILENT, timeout=PATIENCE_S)


# Numbers at the edge of what floats can hold are warned of in a log; the answer must be right.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@SELDOM.parametrize()
@BOUNDED
def test_every_answer_that_costs_much_is_as_documented(case: schemathesis.Case) -> None:
    case.call_and_validate(excluded_checks=SILENT, timeout=PATIENCE_S)
