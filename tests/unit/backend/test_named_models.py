"""Whatever a config names as its model, the API says what is wrong with it."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from meshtune.backend.app import create_app
from meshtune.backend.settings import Settings
from tests.support.builders import tiny_config

NAMES = ("a" * 400, "~nobody", "/", "..", "a/b/" + "c" * 300, "\U0010ffff", ".", "/etc/hosts", "~")


@pytest.mark.parametrize("source", ["folder", "pip", "hub"])
@pytest.mark.parametrize("path", NAMES, ids=range(len(NAMES)))
def test_a_model_that_is_not_here_is_a_wrong_field(source: str, path: str, tmp_path: Path) -> None:
    config = tiny_config().model_dump(mode="json") | {"model": {"source": source, "path": path}}
    with TestClient(create_app(Settings(state_dir=tmp_path)), raise_server_exceptions=False) as api:
        for address in ("/runs", "/topology/link-curve", "/topology/clusters"):
            assert api.post(address, json=config).status_code == 422, address
        answer = api.post("/plan", json=config)
    assert answer.status_code in (200, 422)
    assert "model" in answer.text
