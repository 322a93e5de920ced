"""What a night brings: damaged files, locks, clocks that jump, people who pause and delete."""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine, text

from meshtune.backend.settings import Settings
from meshtune.backend.training.artefacts import Kept, open_artefacts
from meshtune.backend.training.owners import is_dead, worker_name
from meshtune.backend.training.supervisor import Supervisor
from meshtune.db import clock as store_clock, leases, runs, steering
from meshtune.db.errors import ClaimLost, RunNotFound
from meshtune.db.models import Wanted
from meshtune.db.session import reading, writing
from meshtune.engine.records import RunStatus
from tests.support.builders import expire_lease, play, stored_run, tiny_config
from tests.support.fake_engine import uninterrupted
from tests.support.workers import (
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


def kinds(store: Engine, run_id: int) -> list[str]:
    with reading(store) as session:
        return [event.kind for event in runs.events(session, run_id)]


# People


def test_pause_acts_within_a_step_and_resume_goes_on_after_the_last_finished_round(
    store: Engine, settings: Settings
) -> None:
    config = tiny_config(name="gated", rounds=4)
    run_id, other = stored_run(store, config), stored_run(store)
    (settings.state_dir / "round-0").touch()
    with worker(settings):
        await_rounds(store, run_id, 1)
        with writing(store) as session:
            steering.request_pause(session, run_id)
        # The second round does not end before its file is there.
        wait_until(lambda: look(store, run_id).status is RunStatus.PAUSED, "the pause")
        for index in range(config.rounds):
            (settings.state_dir / f"round-{index}").touch()
        paused_at = look(store, run_id).rounds_done
        assert await_end(store, other).status is RunStatus.COMPLETED  # the worker is free
        assert look(store, run_id).rounds_done == paused_at
        with writing(store) as session:
            steering.request_resume(session, run_id)
        assert await_end(store, run_id).status is RunStatus.COMPLETED
    assert starts(store, run_id) == 2
    assert records(store, run_id) == uninterrupted(config.model_copy(update={"name": "plain"}))


@pytest.mark.sqlite
def test_a_paused_run_whose_child_does_not_listen_is_paused_all_the_same(
    store: Engine, settings: Settings
) -> None:
    run_id = stored_run(store, tiny_config(name="deaf"))
    with worker(settings):
        await_rounds(store, run_id, 1)
        with writing(store) as session:
            steering.request_pause(session, run_id)
        wait_until(lambda: look(store, run_id).status is RunStatus.PAUSED, "the pause")
    assert len(records(store, run_id)) == 1


def test_a_run_paused_while_its_worker_was_dead_is_not_claimed(
    store: Engine, settings: Settings
) -> None:
    run_id = stored_run(store, long_config())
    with worker(settings) as first:
        await_rounds(store, run_id, 1)
        first.stop(signal.SIGKILL)
    with writing(store) as session:
        steering.request_pause(session, run_id)
    with worker(settings):
        wait_until(lambda: look(store, run_id).status is RunStatus.PAUSED, "the pause")
    assert starts(store, run_id) == 1


def test_a_run_deleted_a_day_ago_is_purged_with_its_files(
    store: Engine, settings: Settings
) -> None:
    old, new = stored_run(store, rounds=1), stored_run(store, rounds=1)
    artefacts = open_artefacts(settings)
    for run_id in (old, new):
        artefacts.keep(Kept(run_id, 0, 1).name, lambda path: path.touch())
        with writing(store) as session:
            steering.delete(session, run_id)
    with writing(store) as session:
        long_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
        session.execute(text(f"UPDATE runs SET deleted_at = {long_ago} WHERE id = {old}"))
    Supervisor(settings, store).purge()
    assert artefacts.of_run(old) == []
    assert len(artefacts.of_run(new)) == 1
    with writing(store) as session:
        assert steering.restore(session, new).id == new
        with pytest.raises(RunNotFound):
            steering.restore(session, old)


# Disks and databases


@pytest.mark.sqlite
def test_a_damaged_checkpoint_costs_no_round(store: Engine, settings: Settings) -> None:
    config = long_config()
    run_id = stored_run(store, config)
    with worker(settings) as process:
        await_rounds(store, run_id, 4)
        process.stop(signal.SIGKILL)
    newest = look(store, run_id).checkpoint
    assert newest is not None
    (settings.checkpoint_dir / newest).write_bytes(b"")
    before = records(store, run_id)
    with worker(settings):
        assert await_end(store, run_id).status is RunStatus.COMPLETED
    assert kinds(store, run_id).count("recovered") == 1
    assert records(store, run_id)[: len(before)] == before
    assert records(store, run_id) == uninterrupted(config)


@pytest.mark.sqlite
def test_a_folder_that_may_not_be_written_delays_a_run_and_costs_no_round(
    store: Engine, settings: Settings
) -> None:
    config = long_config()
    run_id = stored_run(store, config)
    with worker(settings) as process:
        await_rounds(store, run_id, 2)
        folder, aside = settings.checkpoint_dir, settings.state_dir / "aside"
        folder.rename(aside)
        folder.write_text("a file in the way, which stops root, too", encoding="utf-8")
        wait_until(lambda: "cannot be written" in process.said(), "the trouble")
        folder.unlink()
        aside.rename(folder)
        assert await_end(store, run_id).status is RunStatus.COMPLETED
    assert starts(store, run_id) == 1
    assert records(store, run_id) == uninterrupted(config)


# Clocks and claims


class Clock(SimpleNamespace):
    """`time` as a module of the store sees it."""

    now: float = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(store_clock, "time", fake)
    return fake


@pytest.mark.sqlite  # PostgreSQL has a clock of its own
@pytest.mark.parametrize("jump_s", [3600.0, 86_400.0])
def test_a_clock_set_forward_may_cost_a_claim_but_no_round(
    store: Engine, clock: Clock, jump_s: float
) -> None:
    run_id = stored_run(store, tiny_config(rounds=4))
    with writing(store) as session:
        first = leases.claim_next(session, "first", lease_s=20.0)
        assert first is not None
        play(session, first, 2)
    clock.now += jump_s  # all leases look run out
    with writing(store) as session:
        second = leases.claim_next(session, "second", lease_s=20.0)
        assert second is not None
        assert (second.run_id, second.rounds_done) == (run_id, 2)
    with pytest.raises(ClaimLost), writing(store) as session:
        play(session, first, 1)
    with writing(store) as session:
        play(session, second, 2)
        leases.finish(session, second, RunStatus.COMPLETED)
    assert [record.round_index for record in records(store, run_id)] == [0, 1, 2, 3]


@pytest.mark.sqlite  # PostgreSQL has a clock of its own
@pytest.mark.parametrize("jump_s", [3600.0, 86_400.0])
def test_a_clock_set_back_keeps_the_owner_and_a_dead_one_is_still_found(
    store: Engine, clock: Clock, jump_s: float
) -> None:
    machine, pid, _ = worker_name().split("/")
    dead = f"{machine}/{pid}/1"  # the number of a living process, another start
    run_id = stored_run(store, tiny_config(rounds=4))
    with writing(store) as session:
        claim = leases.claim_next(session, dead, lease_s=20.0)
        assert claim is not None
        play(session, claim, 1)
    clock.now -= jump_s  # the lease seems to last for long
    with writing(store) as session:
        assert leases.claim_next(session, "second", lease_s=20.0) is None
        leases.beat(session, claim, progress=0.5, lease_s=20.0)  # its owner is well, and says so
    lease_until = look(store, run_id).lease_until
    assert lease_until == clock.now + 20.0
    clock.now -= jump_s
    with writing(store) as session:
        assert leases.requeue_stale(session, actor="second", is_dead=is_dead) == [run_id]
    with writing(store) as session:
        heir = leases.claim_next(session, "second", lease_s=20.0)
        assert heir is not None
        assert heir.rounds_done == 1


def test_of_two_owners_only_the_later_can_write_anything(store: Engine) -> None:
    run_id = stored_run(store, tiny_config(rounds=4))
    with writing(store) as session:
        first = leases.claim_next(session, "first", lease_s=20.0)
        assert first is not None
    with writing(store) as session:
        expire_lease(session, run_id)
        assert leases.claim_next(session, "second", lease_s=20.0) is not None
    writes = (
        lambda s: play(s, first, 1),
        lambda s: leases.beat(s, first, progress=0.5, lease_s=20.0),
        lambda s: leases.finish(s, first, RunStatus.COMPLETED),
        lambda s: leases.release(s, first, "why"),
        lambda s: leases.report_loss(s, first, "why"),
    )
    for write in writes:
        with pytest.raises(ClaimLost), writing(store) as session:
            write(session)
    run = look(store, run_id)
    assert (run.owner, run.rounds_done, run.wanted) == ("second", 0, Wanted.RUN)


@pytest.mark.sqlite
def test_a_child_that_sleeps_is_ended_and_its_run_goes_on(
    store: Engine, settings: Settings
) -> None:
    config = long_config()
    run_id = stored_run(store, config)
    with worker(settings.model_copy(update={"stall_s": 2.0})) as process:
        await_rounds(store, run_id, 2)
        os.kill(min(process.children()), signal.SIGSTOP)  # the first, which trains
        assert await_end(store, run_id).status is RunStatus.COMPLETED
    assert records(store, run_id) == uninterrupted(config)
