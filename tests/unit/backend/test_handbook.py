"""The handbook as API and dashboard serve it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from meshtune.backend import handbook
from meshtune.backend.app import create_app
from meshtune.backend.settings import Settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the handbook is looked for; empty as in a fresh checkout."""
    monkeypatch.setattr(handbook, "FOLDER", tmp_path / "handbook")
    return tmp_path / "handbook"


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    """An API that asks everybody for a token."""
    asking = settings.model_copy(update={"require_token": True})
    with TestClient(create_app(asking), base_url="http://127.0.0.1") as client:
        yield client


def test_where_it_was_not_built_a_sentence_says_so(api: TestClient, folder: Path) -> None:
    assert not folder.exists()
    answer = api.get("/handbook/")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")
    assert "`make docs` builds it" in answer.text


def test_pages_need_no_token_and_load_nothing_from_elsewhere(api: TestClient, folder: Path) -> None:
    folder.mkdir()
    (folder / "index.html").write_text("<p>first</p>")
    (folder / "m10.html").write_text("<p>tenth</p>")
    assert api.get("/runs").status_code == 401
    assert api.get("/handbook/").text == "<p>first</p>"
    answer = api.get("/handbook/m10.html")
    assert answer.text == "<p>tenth</p>"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    again = api.get("/handbook/m10.html", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


def test_its_address_without_a_slash_leads_on_below_any_path(api: TestClient) -> None:
    answer = api.get("/handbook", follow_redirects=False)
    assert answer.headers["location"] == "handbook/"


@pytest.mark.parametrize("file", ["nix.html", "..%2fsecret.txt", "%2e%2e/secret.txt", "sub"])
def test_only_its_files_are_served(api: TestClient, folder: Path, file: str) -> None:
    (folder / "sub").mkdir(parents=True)
    folder.with_name("secret.txt").write_text("secret")
    answer = api.get(f"/handbook/{file}")
    assert answer.status_code == 404
    assert "no such page" in answer.text
