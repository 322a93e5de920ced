"""Adapters of a stored run as folders with a card: by the command and by the API."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from meshtune.backend import errors
from meshtune.backend.archive.adapters import Choice, export_adapters
from meshtune.backend.archive.bundle import BundleError
from meshtune.backend.commands.main import app
from meshtune.backend.routes import bundles
from meshtune.backend.settings import Settings
from meshtune.db import runs
from meshtune.db.session import reading
from meshtune.engine.commands.console import EXIT_REFUSED, answer
from meshtune.engine.config import config_hash
from tests.support.builders import stored_run, tiny_config
from tests.support.bundles import RANK, contents, kept_run

ONE = {"README.md", "adapter_config.json", "adapter_model.safetensors"}


@pytest.fixture
def run_id(store: Engine, settings: Settings) -> int:
    return kept_run(store, settings, seed=5)


def exported(
    store: Engine, settings: Settings, run_id: int, out: Path, choice: Choice | None = None
) -> dict[str, bytes]:
    export_adapters(store, settings, run_id, choice or Choice(), out)
    return contents(out)


def test_every_device_has_a_folder_unless_one_is_chosen(
    store: Engine, settings: Settings, run_id: int, tmp_path: Path
) -> None:
    every = exported(store, settings, run_id, tmp_path / "all")
    assert set(every) == {f"device-00{i}/{name}" for i in range(2) for name in ONE}
    one = exported(store, settings, run_id, tmp_path / "one", Choice(device=1))
    assert one == {name: every[f"device-001/{name}"] for name in ONE}
    packed = exported(store, settings, run_id, tmp_path / "one.zip", Choice(device=1))
    assert packed == one


def test_an_expert_is_that_of_the_best_holder_of_the_task(
    store: Engine, settings: Settings, run_id: int, tmp_path: Path
) -> None:
    expert = exported(store, settings, run_id, tmp_path / "e", Choice(expert="reading"))
    one = exported(store, settings, run_id, tmp_path / "o", Choice(device=1))
    weights = "adapter_model.safetensors"
    assert expert[weights] == one[weights]
    assert b"of device 1, which holds the task reading, the best on it" in expert["README.md"]


def test_merged_has_the_ranks_of_all(
    store: Engine, settings: Settings, run_id: int, tmp_path: Path
) -> None:
    merged = exported(store, settings, run_id, tmp_path / "m", Choice(merged=True))
    told = json.loads(merged["adapter_config.json"])
    assert (told["r"], told["lora_alpha"]) == (2 * RANK, 2 * 16.0)
    assert b"mean of the updates B A of all 2 devices" in merged["README.md"]


def test_the_card_names_base_config_seed_tasks_accuracy_and_bits(
    store: Engine, settings: Settings, run_id: int, tmp_path: Path
) -> None:
    files = exported(store, settings, run_id, tmp_path / "one", Choice(device=0))
    text = files["README.md"].decode()
    with reading(store) as session:
        run = runs.get(session, run_id)
        sent, config = run.sent_bits, runs.config_of(run)
    assert text.startswith("---\nbase_model: ")
    base = json.loads(text.splitlines()[1].removeprefix("base_model: "))
    assert (Path(base) / "model.safetensors").is_file()
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == base
    for row in (
        "library_name: peft",
        "| seed | 5 |",
        "| tasks | reading, addition |",
        "| rounds | 2 of 2 |",
        "| own task, mean over devices | 50.0 % |",
        f"| bits sent | {sent} (",
        f"| SHA-256 of the config | {config_hash(config)} |",
        "| device 0 on reading | 12.3 % |",
        "AutoPeftModelForCausalLM.from_pretrained",
        'kind = "lora_gossip"',
    ):
        assert row in text
    assert text.count("```") == 4


def test_a_folder_that_is_not_empty_stays_as_it_is(
    store: Engine, settings: Settings, run_id: int, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(BundleError, match="exists; choose another"):
        export_adapters(store, settings, run_id, Choice(), tmp_path / "out")
    assert contents(tmp_path / "out") == {"mine": b"precious"}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (["--device", "2"], "has no device 2; its devices are 0 to 1"),
        (["--expert", "counting"], "holds counting; choose reading, addition"),
        (["--expert", "nothing"], "holds nothing; choose reading, addition"),
        (["--device", "0", "--merged"], "name one of them"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    wanted: list[str],
    words: str,
    run_id: int,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(settings.state_dir))
    out = str(tmp_path / "out")
    with pytest.raises(SystemExit) as ended:
        answer(app, argv=["export", str(run_id), "--format", "peft", "--out", out, *wanted])
    said = capfd.readouterr().err
    assert ended.value.code == EXIT_REFUSED
    assert words in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_checkpoint_is_refused(
    store: Engine, settings: Settings, tmp_path: Path
) -> None:
    fresh = stored_run(store, tiny_config())
    with pytest.raises(BundleError, match="has no checkpoint; export it once a round is finished"):
        export_adapters(store, settings, fresh, Choice(), tmp_path / "out")
    lost = kept_run(store, settings)
    for file in settings.checkpoint_dir.iterdir():
        file.unlink()
    with pytest.raises(BundleError, match=f"of run {lost} is gone"):
        export_adapters(store, settings, lost, Choice(), tmp_path / "out")


def test_a_damaged_checkpoint_is_refused(
    store: Engine, settings: Settings, run_id: int, tmp_path: Path
) -> None:
    (file,) = settings.checkpoint_dir.iterdir()
    file.write_bytes(b"damaged")
    with pytest.raises(BundleError, match="cannot be read"):
        export_adapters(store, settings, run_id, Choice(), tmp_path / "out")


def test_options_of_adapters_need_their_format(
    run_id: int,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(settings.state_dir))
    with pytest.raises(SystemExit):
        answer(app, argv=["export", str(run_id), "--merged", "--out", str(tmp_path / "out")])
    assert "add --format peft" in capfd.readouterr().err


@pytest.fixture
def client(store: Engine, settings: Settings) -> Iterator[TestClient]:
    served = FastAPI()
    errors.install(served)
    served.include_router(bundles.router)
    served.state.engine, served.state.settings = store, settings
    with TestClient(served) as client:
        yield client


def test_they_go_out_over_http(
    client: TestClient, run_id: int, store: Engine, settings: Settings, tmp_path: Path
) -> None:
    given = client.get(f"/runs/{run_id}/adapters", params={"device": 1})
    assert given.status_code == 200
    assert given.headers["content-disposition"] == f'attachment; filename="adapters-{run_id}.zip"'
    (tmp_path / "got.zip").write_bytes(given.content)
    there = exported(store, settings, run_id, tmp_path / "out", Choice(device=1))
    assert contents(tmp_path / "got.zip") == there


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?device=2", 422),
        ("?device=-1", 422),
        ("?expert=counting", 422),
        ("?expert=no-task", 422),
        ("?device=1&merged=true", 422),
    ],
)
def test_what_there_is_not_is_refused_over_http(
    query: str, status: int, client: TestClient, run_id: int
) -> None:
    given = client.get(f"/runs/{run_id}/adapters{query}")
    assert given.status_code == status
    assert given.json()["detail"]


def test_an_unknown_run_is_refused_over_http(client: TestClient) -> None:
    assert client.get("/runs/77/adapters").status_code == 404
