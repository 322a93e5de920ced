"""Liveness and readiness: what each needs, and what it must not need."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from meshtune.backend.app import create_app
from meshtune.backend.schemas.runs import Problem
from meshtune.backend.settings import Settings
from meshtune.db import leases
from meshtune.db.session import writing


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def kept(api: TestClient) -> Engine:
    assert isinstance(api.app, FastAPI)
    engine: Engine = api.app.state.engine
    return engine


def set_revision(kept: Engine, revision: str) -> None:
    with writing(kept) as session:
        session.connection().exec_driver_sql(f"UPDATE alembic_version SET version_num='{revision}'")


def test_a_fresh_service_is_live_and_ready(api: TestClient) -> None:
    assert api.get("/health/live").json() == {"status": "live"}
    assert api.get("/health/ready").json() == {"status": "ready", "worker_seen": False}


def test_a_worker_is_part_of_readiness_on_demand_only(api: TestClient, kept: Engine) -> None:
    said = api.get("/health/ready?worker=true")
    assert said.status_code == 503
    assert "meshtune worker" in Problem.model_validate_json(said.content).detail
    with writing(kept) as session:
        leases.worker_beat(session, "w", slots=1, lease_s=20.0)
    assert api.get("/health/ready?worker=true").json()["worker_seen"] is True


@pytest.mark.parametrize("revision", ["0003", "9999"])
def test_a_database_of_another_version_is_not_ready_but_live(
    api: TestClient, kept: Engine, revision: str
) -> None:
    set_revision(kept, revision)
    said = api.get("/health/ready")
    assert said.status_code == 503
    assert revision in Problem.model_validate_json(said.content).detail
    assert api.get("/health/live").status_code == 200


def test_a_database_that_is_gone_is_not_ready_but_live(api: TestClient, kept: Engine) -> None:
    with writing(kept) as session:
        session.connection().exec_driver_sql("DROP TABLE workers")
    assert api.get("/health/ready").status_code == 503
    assert api.get("/health").status_code == 503
    assert api.get("/health/live").status_code == 200
