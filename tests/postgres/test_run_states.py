"""The state machine of runs, step by step beside its model, on PostgreSQL."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import initialize, run_state_machine_as_test

from tests.property.test_run_states import RunStates
from tests.support import postgres as private

ADDRESS = "MESHTUNE_DATABASE_URL"


def test_whatever_happens_in_any_order_the_laws_of_runs_hold(
    postgres: private.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, "")  # set below for each example; restored by this

    class OnPostgres(RunStates):
        @initialize()
        def open(self) -> None:
            os.environ[ADDRESS] = postgres.new_database()
            super().open()

        def teardown(self) -> None:
            super().teardown()
            if url := os.environ[ADDRESS]:
                postgres.drop(url)
                os.environ[ADDRESS] = ""

    run_state_machine_as_test(
        OnPostgres,
        settings=settings(
            max_examples=12,
            stateful_step_count=30,
            deadline=None,
            phases=[Phase.generate],  # what fails here mostly fails on SQLite, which shrinks fast
            suppress_health_check=list(HealthCheck),
        ),
    )
