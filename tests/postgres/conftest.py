"""Tests of what only PostgreSQL does, or does differently."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from meshtune.db.session import open_engine
from tests.support import postgres as private


@pytest.fixture
def url(postgres: private.Server) -> Iterator[str]:
    """Address of a database with empty tables."""
    made = postgres.new_database()
    yield made
    postgres.drop(made)


@pytest.fixture
def store(url: str) -> Iterator[Engine]:
    """A database with empty tables."""
    engine = open_engine(url)
    yield engine
    engine.dispose()
