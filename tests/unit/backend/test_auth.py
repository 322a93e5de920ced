"""Tokens: every route is closed without a good one, and the bearer is named in events."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from hypothesis import given, strategies as st
from sqlalchemy import Engine, text
from starlette.datastructures import Headers

from meshtune.backend.app import create_app
from meshtune.backend.commands.main import app as commands
from meshtune.backend.guards import auth
from meshtune.backend.guards.auth import OPEN, SCOPES, bearer_secret
from meshtune.backend.guards.origins import is_own_name, sent_by_own_page
from meshtune.backend.schemas.runs import Problem, RunCreate, RunDetail
from meshtune.backend.settings import Settings, open_store
from meshtune.db import tokens
from meshtune.db.errors import StoreError
from meshtune.db.scopes import Scope
from meshtune.db.session import reading, writing
from meshtune.engine.commands.console import EXIT_REFUSED, answer
from tests.support.builders import tiny_config

# Host headers that are none: what reads them may see different names in them.
MALFORMED = [
    "user@localhost",
    "user:secret@127.0.0.1",
    "localhost@evil.example",
    "localhost\\@evil.example",
    "evil.example\\.localhost",
    "localhost\\",
    "localhost/evil",
    "localhost?x",
    "localhost#x",
    "localhost:8701:8701",
    "localhost:x",
    "localhost:99999",
    "localhost:",
    "http://localhost",
    "local host",
    "localhost, evil.example",
    "[::1",
    "[localhost]",
    "::1",
    "[::1]evil",
    "l\u00f6calhost",
    "localhost%2eevil.example",
]
# Addresses that end: a stream that is let in would be read for ever.
STREAMS = ("/events/stream", "/runs/{run_id}/events/stream")


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    return [
        (method, str(context.path))
        for context in iter_route_contexts(app.routes)
        for method in sorted((context.methods or set()) - {"HEAD"})
    ]


ROUTES = routes_of(create_app())
CLOSED = [route for route in ROUTES if SCOPES.get(route) is not OPEN]


@pytest.fixture
def closed(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "closed", require_token=True)


@pytest.fixture
def api(closed: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(closed), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def kept(api: TestClient) -> Engine:
    assert isinstance(api.app, FastAPI)
    engine: Engine = api.app.state.engine
    return engine


def made(kept: Engine, scope: Scope, name: str | None = None, **more: Any) -> dict[str, str]:
    """Headers of a new token."""
    with writing(kept) as session:
        secret = tokens.create(session, name or f"a-{scope}", scope, **more)
    return {"authorization": f"Bearer {secret}"}


def asked(
    api: TestClient, method: str, path: str, headers: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Status, name of the error and challenge of a request without body."""
    address = path.replace("{run_id}", "7").replace("{sweep_id}", "7").replace("{file}", "x")
    said = api.request(method, address, headers=headers)
    told = said.headers.get("content-type", "").startswith("application/json")
    error = Problem.model_validate_json(said.content).error if said.is_error and told else ""
    return said.status_code, error, said.headers.get("www-authenticate", "")


def test_every_route_says_which_scope_it_needs() -> None:
    assert set(ROUTES) <= SCOPES.keys()
    assert {path for method, path in ROUTES if SCOPES[method, path] is OPEN} == {
        "/health/live",
        "/health/ready",
        "/docs",
        "/docs/{file}",
        "/handbook",
        "/handbook/{file:path}",
        "/openapi.json",
    }


def test_changes_need_more_than_reading() -> None:
    asking = (
        "data/preview",
        "plan",
        "playground",
        "topology/clusters",
        "topology/export",
        "topology/import",
    )
    only_asks = {("POST", f"/{path}") for path in (*asking, "topology/link-curve")}
    for (method, path), needs in SCOPES.items():
        if method != "GET" and (method, path) not in only_asks:
            assert needs in (Scope.RUN, Scope.ADMIN), (method, path)
        if method == "DELETE" or path.startswith("/tokens") or path == "/runs/import":
            assert needs is Scope.ADMIN


def test_every_route_is_refused_without_with_a_wrong_and_with_too_small_a_token(
    api: TestClient, kept: Engine
) -> None:
    bearers = {scope: made(kept, scope) for scope in Scope}
    wrong = {"authorization": "Bearer mt_" + "x" * 43}
    for method, path in CLOSED:
        status, error, challenge = asked(api, method, path)
        assert (status, error) == (401, "Unauthorized"), (method, path)
        assert challenge == 'Bearer realm="meshtune"'
        status, error, challenge = asked(api, method, path, wrong)
        assert (status, error) == (401, "Unauthorized"), (method, path)
        assert 'error="invalid_token"' in challenge
        for scope, headers in bearers.items():
            if not scope.covers(SCOPES[method, path] or Scope.READ):
                status, error, challenge = asked(api, method, path, headers)
                assert (status, error) == (403, "ScopeTooSmall"), (method, path, scope)
                assert 'error="insufficient_scope"' in challenge


def test_every_route_lets_a_token_of_its_scope_through_the_gate(
    api: TestClient, kept: Engine
) -> None:
    bearers = {scope: made(kept, scope) for scope in Scope}
    for method, path in CLOSED:
        if path not in STREAMS:
            status, error, _ = asked(api, method, path, bearers[SCOPES[method, path] or Scope.READ])
            assert status not in (401, 403), (method, path, error)


def test_open_routes_need_no_token_and_tell_nothing_of_runs(api: TestClient) -> None:
    for method, path in ROUTES:
        if SCOPES[method, path] is OPEN:
            assert asked(api, method, path)[0] in (200, 404), path
    assert "runs" not in api.get("/health/ready").json()


def test_an_address_that_no_rule_names_is_closed(api: TestClient, kept: Engine) -> None:
    @api.app.get("/forgotten")  # type: ignore[attr-defined]
    def forgotten() -> str:
        return "secret"

    assert asked(api, "GET", "/forgotten")[0] == 401
    assert asked(api, "GET", "/forgotten", made(kept, Scope.RUN))[0] == 403
    assert asked(api, "GET", "/forgotten", made(kept, Scope.ADMIN))[0] == 200
    assert asked(api, "GET", "/nothing")[0] == 401


def test_nothing_of_a_body_is_parsed_before_the_token_is_good(api: TestClient) -> None:
    said = api.post("/runs", content=b"{", headers={"content-type": "application/json"})
    assert said.status_code == 401


def test_a_revoked_or_old_token_is_no_longer_good(api: TestClient, kept: Engine) -> None:
    short, gone = made(kept, Scope.READ, "short", days=1), made(kept, Scope.READ, "gone")
    assert asked(api, "GET", "/runs", short)[0] == asked(api, "GET", "/runs", gone)[0] == 200
    with writing(kept) as session:
        tokens.revoke(session, "gone")
        past = (datetime.now(UTC) - timedelta(days=1)).timestamp()
        session.execute(text("UPDATE tokens SET expires_at = :p WHERE name = 'short'"), {"p": past})
    assert asked(api, "GET", "/runs", short)[0] == asked(api, "GET", "/runs", gone)[0] == 401


def test_events_name_the_bearer(api: TestClient, kept: Engine) -> None:
    body = RunCreate(config=tiny_config()).model_dump(mode="json")
    said = api.post("/runs", json=body, headers=made(kept, Scope.RUN, "nightly"))
    run = RunDetail.model_validate_json(said.content)
    assert [event.actor for event in run.events] == ["token nightly"]


def test_without_tokens_the_actor_is_a_person(settings: Settings) -> None:
    body = RunCreate(config=tiny_config()).model_dump(mode="json")
    with TestClient(create_app(settings)) as api:
        run = RunDetail.model_validate_json(api.post("/runs", json=body).content)
    assert [event.actor for event in run.events] == ["person"]


@pytest.mark.parametrize(
    ("reached", "status"),
    [("127.0.0.1", 200), ("[::1]", 200), ("192.0.2.7", 401), ("[2001:db8::7]", 401)],
)
def test_a_server_bound_beyond_this_machine_by_hand_asks_for_tokens(
    settings: Settings, reached: str, status: int
) -> None:
    with TestClient(create_app(settings), base_url=f"http://{reached}:8701") as api:
        assert api.get("/runs").status_code == status


@pytest.mark.parametrize(
    ("host", "asked_for", "required"),
    [
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("192.0.2.7", None, True),
        ("lab.example.org", None, True),
        ("127.0.0.1", True, True),
        ("0.0.0.0", False, False),
    ],
)
def test_tokens_are_required_as_soon_as_others_can_call(
    host: str, asked_for: bool | None, required: bool
) -> None:
    assert Settings(api_host=host, require_token=asked_for).tokens_required is required


def test_only_the_hash_of_a_token_is_stored(kept: Engine) -> None:
    secret = made(kept, Scope.READ)["authorization"].removeprefix("Bearer ")
    with reading(kept) as session:
        rows = [str(row) for row in session.execute(text("SELECT * FROM tokens"))]
    assert rows
    assert not any(secret in row or secret.removeprefix("mt_") in row for row in rows)
    assert len(secret) >= 43


@pytest.mark.parametrize("scope", list(Scope))
def test_a_caller_is_told_what_it_may_do(api: TestClient, kept: Engine, scope: Scope) -> None:
    told = api.get("/session", headers=made(kept, scope)).json()
    assert told == {"name": f"a-{scope}", "scope": scope}


def test_where_no_token_is_asked_for_a_caller_may_do_everything(settings: Settings) -> None:
    with TestClient(create_app(settings)) as open_to_all:
        assert open_to_all.get("/session").json() == {"name": None, "scope": "admin"}


def test_the_api_leaves_no_token_lying_about(closed: Settings) -> None:
    with TestClient(create_app(closed)) as api:
        assert api.get("/runs").status_code == 401
    assert not [path.name for path in closed.state_dir.iterdir() if "token" in path.name]
    store = open_store(closed)
    with reading(store) as session:
        assert tokens.listed(session) == []
    store.dispose()


def test_openapi_names_the_scopes_only_where_tokens_are_asked_for(
    api: TestClient, settings: Settings
) -> None:
    with_tokens = api.get("/openapi.json").json()
    assert with_tokens["paths"]["/runs"]["post"]["security"] == [{"token": ["run"]}]
    assert "security" not in with_tokens["paths"]["/health/live"]["get"]
    assert with_tokens["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    without = create_app(settings).openapi()
    assert "securitySchemes" not in without["components"]


@given(st.text(max_size=60) | st.none())
def test_only_a_bearer_header_gives_a_secret(header: str | None) -> None:
    secret = bearer_secret(header)
    assert (secret is None) or (header or "").lower().startswith("bearer ")


@given(st.text(max_size=70))
def test_a_token_has_a_name_that_is_safe_to_write_anywhere(name: str) -> None:
    if tokens.NAME.fullmatch(name):
        assert name.isascii()
        assert name == name.strip()
        assert auth.actor(name) == f"token {name}"
    else:
        with pytest.raises(StoreError, match="letters, digits"):
            tokens.create(None, name, Scope.READ)  # type: ignore[arg-type]


# The commands


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(settings.state_dir))

    def run(*argv: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            answer(commands, also=(StoreError,), argv=list(argv))
        code = ended.value.code
        return (code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


def test_a_token_is_printed_once_listed_without_secret_and_revoked(call, settings) -> None:
    code, out, err = call("token", "create", "nightly", "--scope", "run", "--days", "7")
    secret = out.strip()
    assert code == 0
    assert secret.startswith("mt_")
    assert "cannot be shown again" in err
    store = open_store(settings)
    with reading(store) as session:
        bearer = tokens.bearer_of(session, secret)
    assert bearer == tokens.Bearer("nightly", Scope.RUN)
    _, out, _ = call("token", "list")
    assert "nightly" in out
    assert secret not in out
    assert call("token", "revoke", "nightly")[0] == 0
    with reading(store) as session:
        assert tokens.bearer_of(session, secret) is None
    store.dispose()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("create", "a b"), "letters, digits"),
        (("create", "-x"), "-x"),
        (("create", "x", "--scope", "god"), "read"),
        (("create", "x", "--days", "0"), "--days"),
        (("revoke", "nobody"), "no token nobody"),
    ],
)
def test_a_wrong_token_command_is_refused_in_a_sentence(call, argv, says: str) -> None:
    code, _, err = call("token", *argv)
    assert code == EXIT_REFUSED
    assert says in err
    assert "Traceback" not in err


def test_two_tokens_cannot_have_one_name(call) -> None:
    assert call("token", "create", "x")[0] == 0
    code, _, err = call("token", "create", "x")
    assert code == EXIT_REFUSED
    assert "token revoke x" in err


# Pages of other origins


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"origin": "http://127.0.0.1:8701", "sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_origin_changes_nothing(method: str, headers: dict[str, str]) -> None:
    assert not sent_by_own_page(method, Headers({"host": "127.0.0.1:8701"} | headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:8701"},
        {"origin": "http://127.0.0.1:8701", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_programs_and_own_pages_may_change_things(headers: dict[str, str]) -> None:
    assert sent_by_own_page("POST", Headers({"host": "127.0.0.1:8701"} | headers))


def test_a_page_elsewhere_may_link_here_but_not_fetch() -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert sent_by_own_page("GET", Headers(link | {"sec-fetch-dest": "document"}))
    assert not sent_by_own_page("GET", Headers(link | {"sec-fetch-dest": "iframe"}))
    fetch = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert not sent_by_own_page("GET", Headers(fetch))


def test_a_cross_site_cancel_is_refused_by_the_api(settings: Settings) -> None:
    with TestClient(create_app(settings)) as api:
        said = api.post("/runs/1/cancel", headers={"origin": "http://evil.example"})
        assert (said.status_code, said.json()["error"]) == (403, "CrossSite")
        preflight = {"origin": "http://evil.example", "access-control-request-method": "DELETE"}
        said = api.options("/runs/1", headers=preflight)
        assert not [name for name in said.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:8701", True),
        ("[::1]:8701", True),
        ("localhost", True),
        ("lab.localhost:8701", True),
        ("api:8701", True),
        ("evil.example", False),
        ("evil.example:8701", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example.", False),
        ("user@evil.example", False),
        ("[::1", False),
        ("[x]", False),
        ("", False),
        *((host, False) for host in MALFORMED),
    ],
)
def test_a_name_that_a_site_could_have_does_not_lead_here(host: str, own: bool) -> None:
    assert is_own_name(host) is own


@pytest.mark.parametrize("host", MALFORMED)
@pytest.mark.parametrize("require", [True, False])
def test_a_host_that_is_no_host_is_refused_whoever_calls(
    tmp_path: Path, host: str, *, require: bool
) -> None:
    app = create_app(Settings(state_dir=tmp_path, database_url=None, require_token=require))
    with TestClient(app) as api:
        said = api.get("/health/live", headers={"host": host.encode("latin-1", "replace")})
        assert (said.status_code, said.json()["error"]) == (400, "MalformedHost")


@given(st.text(max_size=40))
def test_any_host_header_is_judged_without_failing(host: str) -> None:
    assert is_own_name(host) in (True, False)


def test_the_api_answers_to_its_own_names_and_to_those_it_is_told(tmp_path: Path) -> None:
    here = Settings(state_dir=tmp_path)
    with TestClient(create_app(here), base_url="http://evil.example") as api:
        said = api.get("/runs")
        assert (said.status_code, said.json()["error"]) == (403, "UnknownHost")
    told = Settings(state_dir=tmp_path, allowed_hosts="lab.example.org, other.example")
    with TestClient(create_app(told), base_url="http://lab.example.org") as api:
        assert api.get("/runs").status_code == 200
