"""Every test gets an API of its own and opens views as a browser would: by name and address."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from meshtune import dashboard
from meshtune.dashboard.api import client
from meshtune.dashboard.serving.launch import API_URL_VARIABLE
from tests.support.fake_api import FakeApi, served

APP = Path(dashboard.__file__).with_name("app.py")
Opener = Callable[..., AppTest]


@pytest.fixture
def api() -> FakeApi:
    """Runs that the dashboard will see; add some before opening a view."""
    return FakeApi(round_s=0.05)


@pytest.fixture
def open_view(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """`open_view("run", run=3)` opens `/run?run=3`."""

    def opened(view: str, **parameters: object) -> AppTest:
        page = AppTest.from_file(str(APP), default_timeout=30)
        if view != "gallery":
            page.run()
            page.switch_page(f"{view}/view.py")
        for name, value in parameters.items():
            page.query_params[name] = str(value)
        page.run()
        assert not page.exception, page.exception
        return page

    with served(api) as url:
        monkeypatch.setenv(API_URL_VARIABLE, url)
        yield opened
        client.forget()
        st.cache_data.clear()


@pytest.fixture
def open_without_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """Views while nothing listens at the address of the API."""

    def opened(view: str, **parameters: object) -> AppTest:
        page = AppTest.from_file(str(APP), default_timeout=30)
        page.run()
        if view != "gallery":
            page.switch_page(f"{view}/view.py")
        for name, value in parameters.items():
            page.query_params[name] = str(value)
        page.run()
        assert not page.exception, page.exception
        return page

    monkeypatch.setenv(API_URL_VARIABLE, "http://127.0.0.1:9")  # the discard port: refused at once
    yield opened
    client.forget()
