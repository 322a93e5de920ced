"""Settings come from the environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from meshtune.backend.settings import Settings, is_loopback, open_store
from meshtune.db.errors import StoreUnavailable


def test_the_database_lies_in_the_state_folder_unless_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Settings().store_url == make_url("sqlite:///.state/meshtune.db")
    monkeypatch.setenv("MESHTUNE_STATE_DIR", "/somewhere")
    assert Settings().store_url == make_url("sqlite:////somewhere/meshtune.db")
    assert Settings().checkpoint_dir == Path("/somewhere/checkpoints")
    monkeypatch.setenv("MESHTUNE_DATABASE_URL", "postgresql://me:secret@host/name")
    assert Settings().store_url == "postgresql://me:secret@host/name"
    assert "secret" not in repr(Settings())


def test_it_listens_to_this_machine_only_unless_told_otherwise() -> None:
    assert Settings().api_host == "127.0.0.1"


@pytest.mark.parametrize(("name", "value"), [("API_PORT", "0"), ("WORKER_SLOTS", "many")])
def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MESHTUNE_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_a_state_folder_that_cannot_be_made_is_told_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreUnavailable, match="MESHTUNE_STATE_DIR"):
        open_store(Settings(state_dir=tmp_path / "file"))


def test_names_of_hosts_are_read_from_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().host_names == frozenset()
    monkeypatch.setenv("MESHTUNE_ALLOWED_HOSTS", " Lab.example.org,, other.example ")
    assert Settings().host_names == {"lab.example.org", "other.example"}


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_only_addresses_of_this_machine_are_its_own(host: str, own: bool) -> None:
    assert is_loopback(host) is own


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG", "xml"),
        ("WRITES_PER_S", "0"),
        ("WRITES_BURST", "0"),
        ("READS_PER_S", "0"),
        ("REQUIRE_TOKEN", "maybe"),
    ],
)
def test_a_wrong_guard_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MESHTUNE_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()
