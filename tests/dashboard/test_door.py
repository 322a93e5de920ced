"""The door: where tokens are required, the page asks for one and shows what it may do."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from sqlalchemy import Engine
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest

from meshtune.backend.app import create_app
from meshtune.backend.settings import Settings, open_store
from meshtune.dashboard.api import client
from meshtune.dashboard.serving.launch import API_URL_VARIABLE
from meshtune.db import tokens
from meshtune.db.scopes import Scope
from meshtune.db.session import writing
from meshtune.engine.records import RunStatus
from tests.support.builders import stored_run, tiny_config
from tests.support.fake_api import listening
from tests.support.views import Views


@pytest.fixture
def lab(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "lab", database_url=None, require_token=True)


@pytest.fixture
def lab_store(lab: Settings) -> Iterator[Engine]:
    engine = open_store(lab)
    yield engine
    engine.dispose()


@pytest.fixture
def page(
    lab: Settings, lab_store: Engine, views: Views, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AppTest]:
    """The dashboard in front of a real API that requires tokens."""
    # What the server itself has must open no door.
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(lab.state_dir))
    own = made(lab_store, Scope.ADMIN, "own")
    monkeypatch.setenv("MESHTUNE_TOKEN", own)
    (lab.state_dir / "dashboard.token").write_text(own, encoding="ascii")
    config = uvicorn.Config(create_app(lab), log_level="warning", access_log=False, ws="none")
    with listening(config) as url:
        monkeypatch.setenv(API_URL_VARIABLE, url)
        yield views.fresh()
        client.forget()


def made(store: Engine, scope: Scope, name: str = "somebody") -> str:
    with writing(store) as session:
        return tokens.create(session, name, scope)


def said(page: AppTest) -> str:
    """All the text of the page."""
    kinds = (page.title, page.markdown, page.caption, page.error, page.info)
    return "\n".join(str(each.value) for kind in kinds for each in kind)


def sign_in(page: AppTest, token: str) -> None:
    page.text_input(key="door-token").set_value(token)
    button_of(page, "Sign in").click().run()
    assert not page.exception


def button_of(page: AppTest, label: str):
    return next(each for each in page.button if each.label == label)


def at_door(page: AppTest) -> bool:
    return [each.value for each in page.title] == ["Sign in to Meshtune"]


def test_nothing_is_shown_before_a_token_is(page: AppTest, lab_store: Engine) -> None:
    stored_run(lab_store, tiny_config(name="secret plan"))
    page.run()
    assert at_door(page)
    assert len(page.button) == 1
    for view in ("run", "design", "compare", "playground", "learn", "sweeps"):
        page.switch_page(f"{view}/view.py").run()
        assert at_door(page)
        assert "secret plan" not in said(page)


@pytest.mark.parametrize(
    "token", ["", "   ", "mt_wrong", "mt_wr\u00f6ng", "two\r\nX-Evil: lines", "x" * 5000]
)
def test_a_wrong_token_is_a_sentence(page: AppTest, token: str) -> None:
    page.run()
    sign_in(page, token)
    assert at_door(page)
    (error,) = page.error
    assert error.value.startswith("This token is not valid" if token.strip() else "Paste your")


def test_a_reader_sees_and_cannot_press_run(page: AppTest, lab_store: Engine) -> None:
    page.run()
    sign_in(page, f" {made(lab_store, Scope.READ)} ")
    assert "Signed in as **somebody**, looks only" in said(page)
    run = page.button(key="run-quick")
    assert run.disabled
    assert "scope run" in run.help
    page.switch_page("design/view.py").run()
    assert page.button(key="design-run").disabled
    assert not page.error  # nothing was saved, and nothing tried
    page.switch_page("sweeps/view.py").run()
    assert page.button(key="sweep-start").disabled


def test_a_writer_runs_and_does_not_delete(page: AppTest, lab_store: Engine) -> None:
    run_id = stored_run(lab_store, tiny_config(rounds=2), rounds=2, status=RunStatus.COMPLETED)
    page.run()
    sign_in(page, made(lab_store, Scope.RUN))
    assert not page.button(key="run-quick").disabled
    page.switch_page("run/view.py")
    page.query_params["run"] = str(run_id)
    page.run()
    assert not page.button(key="save-note").disabled
    delete = page.button(key="delete")
    assert delete.disabled
    assert "scope admin" in delete.help


def test_signing_out_forgets_the_person(page: AppTest, lab_store: Engine) -> None:
    page.run()
    token = made(lab_store, Scope.ADMIN)
    sign_in(page, token)
    page.button(key="door-out").click().run()
    assert at_door(page)
    assert "token" not in page.session_state
    assert token not in f"{page.session_state} {page.query_params}"


def test_a_token_that_ends_is_asked_for_again_and_nothing_typed_is_lost(
    page: AppTest, lab_store: Engine
) -> None:
    page.run()
    sign_in(page, made(lab_store, Scope.RUN, "first"))
    page.switch_page("sweeps/view.py").run()
    page.text_input(key="sweep-name-quick").set_value("mine").run()
    page.number_input(key="sweep-seeds").set_value(4).run()
    with writing(lab_store) as session:
        tokens.revoke(session, "first")
    page.text_input(key="sweep-name-quick").set_value("mine and more").run()
    assert at_door(page)
    assert "what you typed is kept" in said(page)
    sign_in(page, "mt_wrong")
    assert at_door(page)
    sign_in(page, made(lab_store, Scope.READ, "second"))
    assert page.text_input(key="sweep-name-quick").value == "mine and more"
    assert page.number_input(key="sweep-seeds").value == 4
    assert page.button(key="sweep-start").disabled  # this one only looks


def test_words_on_their_way_while_the_token_is_refused_are_kept(
    page: AppTest, lab_store: Engine
) -> None:
    page.run()
    sign_in(page, made(lab_store, Scope.RUN, "first"))
    page.switch_page("sweeps/view.py").run()
    name = page.text_input(key="sweep-name-quick")
    name.set_value("mine").run()
    with writing(lab_store) as session:
        tokens.revoke(session, "first")
    late = page.text_input(key="sweep-name-quick").set_value("mine and more")._widget_state
    page.number_input(key="sweep-seeds").set_value(4)
    page.text_input(key="sweep-name-quick").set_value("mine").run()
    assert at_door(page)
    page._run(WidgetStates(widgets=[late]))  # sent before the browser had drawn the door
    assert at_door(page)
    sign_in(page, made(lab_store, Scope.READ, "second"))
    assert page.text_input(key="sweep-name-quick").value == "mine and more"
    assert page.number_input(key="sweep-seeds").value == 4


def test_a_design_is_as_it_was_after_signing_in_again(page: AppTest, lab_store: Engine) -> None:
    page.run()
    sign_in(page, made(lab_store, Scope.READ, "first"))
    page.switch_page("design/view.py").run()
    rounds = next(each for each in page.number_input if each.label == "Rounds")
    rounds.set_value(rounds.value + 7).run()
    with writing(lab_store) as session:
        tokens.revoke(session, "first")
    seed = next(each for each in page.number_input if each.label == "Seed")
    wanted = (rounds.value, seed.value + 5)
    seed.set_value(wanted[1]).run()
    assert at_door(page)
    sign_in(page, made(lab_store, Scope.READ, "second"))
    found = {each.label: each.value for each in page.number_input}
    assert (found["Rounds"], found["Seed"]) == wanted
