"""A run that moves house: trained here, rebuilt there, finished there, the same to the bit."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from meshtune.backend.archive.bundle import export_folder, export_zip
from meshtune.backend.archive.bundle_import import import_run
from meshtune.backend.commands.main import app
from meshtune.backend.settings import Settings, open_store
from meshtune.backend.training.engine import Start, load_engine
from meshtune.backend.training.verify import verified
from meshtune.db import leases, rounds, runs, steering
from meshtune.db.session import reading, writing
from meshtune.engine.commands.console import answer
from meshtune.engine.config import RunConfig
from meshtune.engine.records import RunStatus
from tests.support.builders import LEASE_S, tiny_config
from tests.support.workers import records

CONFIG = tiny_config(
    rounds=3,
    method__kind="so_lora",
    channel__kind="radio",
    training__local_steps=1,
    topology__kind="full",
)


@pytest.fixture(scope="module")
def start() -> Start:
    return load_engine()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[Engine, Settings]]:
    settings = Settings(state_dir=tmp_path / "elsewhere")
    store = open_store(settings)
    yield store, settings
    store.dispose()


def trained(
    store: Engine, settings: Settings, start: Start, *, upto: int, config: RunConfig | None = None
) -> int:
    """Number of the run that was next in the queue, trained as a worker does, up to a round."""
    with writing(store) as session:
        if config is not None:
            runs.create(session, config)
        claim = leases.claim_next(session, "tester", lease_s=LEASE_S)
    assert claim is not None
    settings.checkpoint_dir.mkdir(parents=True, exist_ok=True)
    before = settings.checkpoint_dir / claim.checkpoint if claim.checkpoint else None
    training = start(claim.config, before)
    with writing(store) as session:
        leases.record_provenance(session, claim, training.provenance)
    for finished in training.rounds(lambda _share: None):
        name = f"{claim.run_id}-{finished.record.round_index}-f{claim.fence}.safetensors"
        finished.save(settings.checkpoint_dir / name)
        with writing(store) as session:
            leases.append_round(session, claim, finished.record, name, lease_s=LEASE_S)
        if finished.record.round_index + 1 == upto:
            break
    with writing(store) as session:
        if upto == claim.config.rounds:
            leases.finish(session, claim, RunStatus.COMPLETED)
        else:
            leases.release(session, claim, "stopped")
    return claim.run_id


def test_a_run_finished_in_another_lab_equals_one_that_never_moved(
    store: Engine,
    settings: Settings,
    elsewhere: tuple[Engine, Settings],
    start: Start,
    tmp_path: Path,
) -> None:
    there, their_settings = elsewhere
    half = trained(store, settings, start, upto=2, config=CONFIG)
    export_zip(store, settings, half, tmp_path / "half.zip")
    number = import_run(tmp_path / "half.zip", there, their_settings)
    with writing(there) as session:
        assert runs.get(session, number).status is RunStatus.PAUSED
        steering.request_resume(session, number)
    assert trained(there, their_settings, start, upto=3) == number
    assert trained(store, settings, start, upto=3) == half
    assert records(there, number) == records(store, half)

    with reading(there) as session:
        run = runs.get(session, number)
        stored = rounds.listed(session, number)
    verdict = verified(runs.config_of(run), stored, None, start)
    assert (verdict.rounds_equal, verdict.difference) == (3, None)


def said(capsys: pytest.CaptureFixture[str], *words: str | int) -> tuple[int, list[str]]:
    """Exit code and lines of a command of this process, which has loaded torch already."""
    with pytest.raises(SystemExit) as ended:
        answer(app, argv=[str(word) for word in words])
    code = ended.value.code
    return code if isinstance(code, int) else 0, capsys.readouterr().out.splitlines()


def test_verify_at_the_command_line_says_equal_and_then_finds_a_changed_number(
    store: Engine,
    settings: Settings,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(settings.state_dir))
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    run_id = trained(store, settings, start, upto=3, config=CONFIG)
    assert said(capsys, "verify", run_id, "--rounds", 2) == (0, ["all 2 rounds equal"])
    with store.begin() as connection:
        connection.execute(
            text("UPDATE rounds SET train_loss = train_loss + 1e-9 WHERE round_index = 1")
        )
    code, lines = said(capsys, "verify", run_id)
    assert code == 1
    assert lines[0].startswith("round 2 differs in train_loss: stored ")
    assert lines[1:] == ["1 of 3 rounds equal"]


def test_adapters_of_a_bundle_are_those_of_each_device(
    store: Engine, settings: Settings, start: Start, tmp_path: Path
) -> None:
    run_id = trained(store, settings, start, upto=1, config=tiny_config(rounds=2))
    export_folder(store, settings, run_id, tmp_path / "out")
    folders = sorted((tmp_path / "out" / "adapters").iterdir())
    assert [folder.name for folder in folders] == ["device-000", "device-001"]
    weights = [(folder / "adapter_model.safetensors").read_bytes() for folder in folders]
    assert len(weights[0]) == len(weights[1]) > 10_000
