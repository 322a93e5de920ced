"""Real worker processes on a real database: done once, stopped, killed, taken over."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from meshtune.backend.settings import Settings
from meshtune.db import steering
from meshtune.db.models import Worker
from meshtune.db.session import reading, writing
from meshtune.engine.records import RunStatus
from tests.support.builders import stored_run, tiny_config
from tests.support.fake_engine import uninterrupted
from tests.support.workers import (
    BROKEN,
    REAL,
    WorkerProcess,
    await_end,
    await_rounds,
    long_config,
    look,
    records,
    starts,
    wait_until,
    worker,
)

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / ".state", lease_s=5.0, poll_s=0.05, grace_s=0.5)


def test_a_run_is_trained_and_stored(store: Engine, settings: Settings) -> None:
    config = tiny_config(rounds=4)
    run_id = stored_run(store, config)
    with worker(settings) as process:
        run = await_end(store, run_id)
        assert process.stop() == 0
    assert run.status is RunStatus.COMPLETED
    assert run.provenance is not None
    assert records(store, run_id) == uninterrupted(config)
    assert starts(store, run_id) == 1
    names = [path.name for path in settings.checkpoint_dir.iterdir()]
    assert sorted(names) == [f"{run_id}-2-f1.safetensors", f"{run_id}-3-f1.safetensors"]
    with reading(store) as session:
        assert session.query(Worker).all() == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("name", "status", "reason", "rounds"),
    [
        ("diverges", RunStatus.DIVERGED, "loss or adapter became NaN or infinite in round 2", 1),
        ("bug", RunStatus.FAILED, "ZeroDivisionError: division by zero", 1),
        ("misfit", RunStatus.FAILED, "adapter.rank is above the width", 0),
    ],
)
def test_trouble_ends_the_run_and_not_the_worker(
    store: Engine, settings: Settings, name: str, status: RunStatus, reason: str, rounds: int
) -> None:
    troubled, fine = stored_run(store, tiny_config(name=name)), stored_run(store)
    with worker(settings):
        run = await_end(store, troubled)
        assert await_end(store, fine).status is RunStatus.COMPLETED
    assert run.status is status
    assert run.reason is not None
    assert run.reason.startswith(reason)
    assert run.rounds_done == rounds == len(records(store, troubled))


@pytest.mark.sqlite
def test_cancel_acts_within_a_step_and_keeps_the_rounds(store: Engine, settings: Settings) -> None:
    config = tiny_config(rounds=3, training__local_steps=10_000)
    run_id, after = stored_run(store, config), stored_run(store)
    with worker(settings):
        wait_until(lambda: look(store, run_id).progress > 0, "progress inside the round")
        with writing(store) as session:
            steering.request_cancel(session, run_id)
        run = await_end(store, run_id)  # the round would take longer than anybody waits
        assert await_end(store, after).status is RunStatus.COMPLETED
    assert run.status is RunStatus.CANCELLED
    assert run.reason == "cancelled on request after 0 of 3 rounds"


@pytest.mark.sqlite
def test_a_child_that_does_not_listen_is_ended(store: Engine, settings: Settings) -> None:
    run_id = stored_run(store, tiny_config(name="deaf"))
    with worker(settings) as process:
        await_rounds(store, run_id, 1)
        with writing(store) as session:
            steering.request_cancel(session, run_id)
        assert await_end(store, run_id).status is RunStatus.CANCELLED
        assert process.process.poll() is None
    assert len(records(store, run_id)) == 1


def test_a_killed_child_costs_no_round(store: Engine, settings: Settings) -> None:
    config = long_config()
    run_id = stored_run(store, config)
    with worker(settings) as process:
        for rounds in (2, 5):
            await_rounds(store, run_id, rounds)
            for child in process.children():
                os.kill(child, signal.SIGKILL)
        run = await_end(store, run_id)
    assert run.status is RunStatus.COMPLETED
    assert starts(store, run_id) == 3
    assert records(store, run_id) == uninterrupted(config)


@pytest.mark.sqlite
def test_a_spare_outlives_its_sibling_and_goes_on_without_loading_again(
    store: Engine, settings: Settings
) -> None:
    run_id = stored_run(store, tiny_config(training__local_steps=10_000))
    with worker(settings) as process:
        wait_until(lambda: look(store, run_id).progress > 0, "progress inside the first round")
        wait_until(lambda: len(process.loaded()) == 2, "a spare, with no round finished")
        [trainer], loaded = process.trainers(), process.loaded()
        os.kill(trainer, signal.SIGKILL)
        wait_until(lambda: len(process.trainers()) == 2, "another process to take the run")
        assert process.trainers()[1] in {*loaded} - {trainer}
        wait_until(lambda: len(process.loaded()) == 3, "another spare")


@pytest.mark.sqlite
def test_kills_between_rounds_lose_none(store: Engine, settings: Settings) -> None:
    gated = tiny_config(name="gated", rounds=4, seed=5)
    run_id = stored_run(store, gated)
    with worker(settings) as process:
        for index in range(gated.rounds):
            (settings.state_dir / f"round-{index}").touch()
            await_rounds(store, run_id, index + 1)
            if index + 1 < gated.rounds:
                wait_until(partial(has_spare, process, index + 1), "a spare")
                os.kill(process.trainers()[-1], signal.SIGKILL)
                wait_until(partial(has_heir, process, index + 1), "its heir")
        run = await_end(store, run_id)
    assert run.status is RunStatus.COMPLETED
    assert starts(store, run_id) == gated.rounds
    assert records(store, run_id) == uninterrupted(gated.model_copy(update={"name": "plain"}))


def has_spare(process: WorkerProcess, killed: int) -> bool:
    """Whether one more process than were given a run has loaded the engine."""
    return len(process.loaded()) > killed


def has_heir(process: WorkerProcess, killed: int) -> bool:
    """Whether the run was given away once more than its processes were killed."""
    return len(process.trainers()) > killed


@pytest.mark.sqlite
@pytest.mark.parametrize("nice", [10, 0])
def test_training_gives_way_to_its_supervisor_and_to_all_else(
    store: Engine, settings: Settings, nice: int
) -> None:
    run_id = stored_run(store, tiny_config(training__local_steps=10_000))
    with worker(settings.model_copy(update={"worker_nice": nice})) as process:
        wait_until(lambda: look(store, run_id).progress > 0, "progress")
        wait_until(lambda: len(process.loaded()) == 2, "a spare")
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, process.process.pid) == own
        for child in process.loaded():
            assert os.getpriority(os.PRIO_PROCESS, child) == min(own + nice, 19)
            group = Path(f"/proc/{child}/autogroup")  # niceness counts within such a group only
            if nice and group.exists():
                assert os.getsid(child) == child
                assert group.read_text(encoding="ascii").endswith(f" nice {nice}\n")


def test_a_killed_worker_is_replaced_and_leaves_no_orphan(
    store: Engine, settings: Settings
) -> None:
    config = long_config()
    run_id = stored_run(store, config)
    with worker(settings) as first:
        await_rounds(store, run_id, 2)
        children = first.children()
        first.stop(signal.SIGKILL)
        wait_until(
            lambda: not any(Path(f"/proc/{child}/exe").exists() for child in children),
            "the end of the children",
        )
        with worker(settings):
            run = await_end(store, run_id)
    assert run.status is RunStatus.COMPLETED
    assert starts(store, run_id) == 2
    assert records(store, run_id) == uninterrupted(config)


def test_a_worker_that_slept_through_its_lease_does_no_harm(
    store: Engine, settings: Settings
) -> None:
    config = long_config()
    run_id = stored_run(store, config)
    with worker(settings) as sleeper:
        await_rounds(store, run_id, 2)
        stopped = [sleeper.process.pid, *sleeper.children()]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        with worker(settings):
            wait_until(lambda: starts(store, run_id) == 2, "the second worker")
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            assert await_end(store, run_id).status is RunStatus.COMPLETED
            assert sleeper.stop() == 0
    assert starts(store, run_id) == 2
    assert records(store, run_id) == uninterrupted(config)


@pytest.mark.sqlite
def test_the_first_signal_finishes_the_round_and_gives_the_run_back(
    store: Engine, settings: Settings
) -> None:
    config = long_config()
    run_id = stored_run(store, config)
    with worker(settings) as first:
        await_rounds(store, run_id, 2)
        assert first.stop() == 0
    run = look(store, run_id)
    assert run.status is RunStatus.QUEUED
    assert 2 < run.rounds_done < 12
    assert first.children() == []
    with worker(settings):
        assert await_end(store, run_id).status is RunStatus.COMPLETED
    assert records(store, run_id) == uninterrupted(config)


@pytest.mark.sqlite
def test_the_second_signal_stops_at_once_and_gives_the_run_back(
    store: Engine, settings: Settings
) -> None:
    run_id = stored_run(store, tiny_config(training__local_steps=10_000))
    with worker(settings) as process:
        wait_until(lambda: look(store, run_id).progress > 0, "progress inside the round")
        process.process.send_signal(signal.SIGINT)
        wait_until(lambda: len(process.children()) == 1, "the end of the spare child")
        assert process.process.poll() is None
        assert process.stop(signal.SIGINT) == 0
    run = look(store, run_id)
    assert run.status is RunStatus.QUEUED
    assert run.attempt == 0


def test_two_workers_share_the_queue_and_never_a_run(store: Engine, settings: Settings) -> None:
    ids = [stored_run(store, tiny_config(rounds=3, seed=i)) for i in range(8)]
    with worker(settings), worker(settings):
        for run_id in ids:
            assert await_end(store, run_id).status is RunStatus.COMPLETED
    assert [starts(store, run_id) for run_id in ids] == [1] * 8
    for seed, run_id in enumerate(ids):
        assert records(store, run_id) == uninterrupted(tiny_config(rounds=3, seed=seed))


def test_a_locked_database_delays_a_run_and_costs_no_round(
    store: Engine, settings: Settings
) -> None:
    config = long_config()
    run_id = stored_run(store, config)
    with worker(settings):
        await_rounds(store, run_id, 2)
        for _ in range(3):
            with writing(store) as session:
                session.execute(text("UPDATE runs SET priority = priority"))
                time.sleep(1.0)
        assert await_end(store, run_id).status is RunStatus.COMPLETED
    assert starts(store, run_id) == 1
    assert records(store, run_id) == uninterrupted(config)


@pytest.mark.sqlite
def test_a_worker_trains_as_many_runs_as_it_has_slots(store: Engine, settings: Settings) -> None:
    ids = [stored_run(store, long_config()) for _ in range(2)]
    with worker(settings.model_copy(update={"worker_slots": 2})):
        wait_until(
            lambda: all(look(store, i).status is RunStatus.RUNNING for i in ids), "both running"
        )
        for run_id in ids:
            assert await_end(store, run_id).status is RunStatus.COMPLETED


@pytest.mark.sqlite
def test_an_engine_that_cannot_be_loaded_is_logged_and_tried_again(
    store: Engine, settings: Settings
) -> None:
    run_id = stored_run(store)
    with worker(settings, BROKEN) as process:
        wait_until(lambda: "could not load the engine" in process.said(), "the message")
        assert process.stop() == 0
    assert look(store, run_id).status is RunStatus.QUEUED


def test_a_database_that_cannot_be_opened_ends_the_worker_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    log_here = Settings(state_dir=tmp_path, database_url=f"sqlite:///{tmp_path}/file/x.db")
    with worker(log_here) as process:
        assert process.process.wait(60) == 1
    assert "cannot be written" in process.said()
    assert "Traceback" not in process.said()


@pytest.mark.sqlite
def test_the_real_engine_survives_kill_and_resume_to_the_bit(
    store: Engine, settings: Settings
) -> None:
    config = tiny_config(rounds=4, training__local_steps=4)
    killed, twin = stored_run(store, config), stored_run(store, config)
    cancelled = stored_run(store, tiny_config(rounds=2, training__local_steps=10_000))
    with worker(settings, REAL) as process:
        await_rounds(store, killed, 1)
        for child in process.children():
            os.kill(child, signal.SIGKILL)
        await_rounds(store, killed, 2)
        process.stop(signal.SIGKILL)
    with worker(settings, REAL):
        for run_id in (killed, twin):
            assert await_end(store, run_id).status is RunStatus.COMPLETED
        wait_until(lambda: look(store, cancelled).progress > 0, "progress inside the round")
        with writing(store) as session:
            steering.request_cancel(session, cancelled)
        assert await_end(store, cancelled).status is RunStatus.CANCELLED
    assert starts(store, killed) > 1
    assert records(store, killed) == records(store, twin)
    assert look(store, killed).provenance == look(store, twin).provenance
