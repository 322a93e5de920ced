"""Every test gets an API of its own and opens views as a browser would: by name and address."""

from collections.abc import Callable, Iterator

import pytest
import streamlit as st
import uvicorn
from streamlit.testing.v1 import AppTest

from meshtune.dashboard.api import client
from meshtune.dashboard.serving.launch import API_URL_VARIABLE
from tests.support.fake_api import FakeApi, Served, listening
from tests.support.views import Views

NOBODY = "http://127.0.0.1:9"  # the discard port: refused at once
Opener = Callable[..., AppTest]


@pytest.fixture
def api() -> FakeApi:
    """Runs that the dashboard will see; add some before opening a view."""
    return FakeApi(round_s=0.05)


@pytest.fixture(scope="session")
def kept_views() -> Views:
    """What a server keeps, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(API_URL_VARIABLE, NOBODY)
        return Views()


@pytest.fixture
def views(kept_views: Views, monkeypatch: pytest.MonkeyPatch) -> Iterator[Views]:
    """Opens views; nothing that one test was answered is shown to the next."""
    kept_views.keep_compiled(monkeypatch)
    yield kept_views
    st.cache_data.clear()


@pytest.fixture(scope="session")
def listener() -> Iterator[tuple[Served, str]]:
    """One server for all tests, and its address; each test puts an API of its own behind it."""
    door = Served()
    with listening(uvicorn.Config(door, log_level="warning", access_log=False, ws="none")) as url:
        yield door, url
        client.forget()


@pytest.fixture
def open_view(
    api: FakeApi, views: Views, listener: tuple[Served, str], monkeypatch: pytest.MonkeyPatch
) -> Opener:
    """`open_view("run", run=3)` opens `/run?run=3`."""
    door, url = listener
    door.app = api.app()
    monkeypatch.setenv(API_URL_VARIABLE, url)
    return views.opened


@pytest.fixture
def open_without_api(views: Views, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """Views while nothing listens at the address of the API."""
    monkeypatch.setenv(API_URL_VARIABLE, NOBODY)
    return views.opened
