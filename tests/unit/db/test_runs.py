"""The life of a run in the store."""

import pytest
from sqlalchemy import Engine, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from meshtune.db import census, leases, rounds, runs, steering
from meshtune.db.errors import ClaimLost, IllegalTransition, RunNotFound
from meshtune.db.models import Round, Run, Wanted
from meshtune.db.session import reading, writing
from meshtune.engine.config import config_hash
from meshtune.engine.records import ENDED, RunStatus
from tests.support.builders import (
    LEASE_S,
    expire_lease,
    play,
    sample_provenance,
    sample_record,
    stored_run,
    tiny_config,
)


def claim(store: Engine, worker: str = "w") -> leases.Claim:
    with writing(store) as session:
        claimed = leases.claim_next(session, worker, lease_s=LEASE_S)
    assert claimed is not None
    return claimed


def look(store: Engine, run_id: int) -> Run:
    with reading(store) as session:
        return runs.get(session, run_id)


def kinds(store: Engine, run_id: int) -> list[str]:
    with reading(store) as session:
        return [event.kind for event in runs.events(session, run_id)]


def test_a_new_run_waits_with_its_config_and_hash(store: Engine) -> None:
    config = tiny_config(name="mesh", seed=7)
    run = look(store, stored_run(store, config))
    assert run.status is RunStatus.QUEUED
    assert (run.name, run.seed, run.devices, run.rounds_total) == ("mesh", 7, 2, 2)
    assert run.config_sha256 == config_hash(config)


def test_an_unknown_run_is_named(store: Engine) -> None:
    with reading(store) as session, pytest.raises(RunNotFound, match="no run 5"):
        runs.get(session, 5)
    with writing(store) as session, pytest.raises(RunNotFound):
        steering.request_cancel(session, 5)


def test_runs_are_claimed_oldest_first_once_each(store: Engine) -> None:
    first, second = stored_run(store), stored_run(store)
    assert [claim(store).run_id, claim(store).run_id] == [first, second]
    with writing(store) as session:
        assert leases.claim_next(session, "w", lease_s=LEASE_S) is None
        assert not leases.work_waits(session)


def test_a_higher_priority_goes_first(store: Engine) -> None:
    stored_run(store)
    urgent = stored_run(store)
    with writing(store) as session:
        runs.get(session, urgent).priority = 1
    assert claim(store).run_id == urgent


def test_a_claim_carries_what_the_worker_needs(store: Engine) -> None:
    config = tiny_config(seed=3)
    run_id = stored_run(store, config, rounds=1)
    held = claim(store, "me")
    assert held.config == config
    assert (held.worker, held.rounds_done) == ("me", 1)
    assert held.checkpoint == f"{run_id}-0-f1.safetensors"


def test_a_round_comes_back_as_it_was_stored(store: Engine) -> None:
    config = tiny_config(rounds=3)
    run_id = stored_run(store, config, rounds=3, status=RunStatus.RUNNING)
    with reading(store) as session:
        full = rounds.listed(session, run_id)
        assert full == [sample_record(config, index) for index in range(3)]
        scores = rounds.listed(session, run_id, after=1, detail=rounds.Detail.SCORES)
        assert scores == [sample_record(config, 2, links=())]
        bare = rounds.listed(session, run_id, after=-1, limit=1, detail=rounds.Detail.SUMMARY)
        assert bare == [sample_record(config, 0, links=(), scores=(), devices=())]


def test_totals_add_up_and_accuracy_is_of_the_last_evaluation(store: Engine) -> None:
    config = tiny_config(rounds=3)
    run_id = stored_run(store, config, rounds=2, status=RunStatus.RUNNING)
    before = look(store, run_id)
    with writing(store) as session:
        held = leases.Claim(run_id, 1, "builder", 0, config, 2, None)
        blind = sample_record(config, 2, accuracy_own=None, accuracy_all=None, scores=())
        leases.append_round(session, held, blind, "c", lease_s=LEASE_S)
    run = look(store, run_id)
    assert run.accuracy_own == before.accuracy_own == sample_record(config, 1).accuracy_own
    assert run.sent_bits == 3 * blind.sent_bits
    assert run.airtime_s == pytest.approx(3 * blind.airtime_s)
    assert run.energy_j == pytest.approx(3 * blind.energy_j)


@pytest.mark.parametrize("index", [0, 2])
def test_a_round_out_of_turn_is_refused_and_nothing_changes(store: Engine, index: int) -> None:
    config = tiny_config(rounds=5)
    run_id = stored_run(store, config, rounds=1)
    held = claim(store)
    with pytest.raises(ClaimLost), writing(store) as session:
        leases.append_round(session, held, sample_record(config, index), "c", lease_s=LEASE_S)
    assert look(store, run_id).rounds_done == 1


def test_a_number_that_is_not_finite_is_not_stored(store: Engine) -> None:
    config = tiny_config()
    run_id = stored_run(store, config)
    held = claim(store)
    poison = sample_record(config, 0, extra={"x": float("nan")})
    with pytest.raises(Exception, match="not JSON compliant"), writing(store) as session:
        leases.append_round(session, held, poison, "c", lease_s=LEASE_S)
    assert look(store, run_id).rounds_done == 0


def test_cancelling_a_waiting_run_ends_it(store: Engine) -> None:
    run_id = stored_run(store)
    with writing(store) as session:
        steering.request_cancel(session, run_id)
    run = look(store, run_id)
    assert run.status is RunStatus.CANCELLED
    assert run.finished_at is not None
    assert run.reason == "cancelled on request after 0 of 2 rounds"


def test_cancelling_a_running_run_asks_its_worker(store: Engine) -> None:
    run_id = stored_run(store, tiny_config(rounds=3))
    held = claim(store)
    for _ in range(2):  # twice is no error
        with writing(store) as session:
            assert steering.request_cancel(session, run_id).status is RunStatus.RUNNING
    with writing(store) as session:
        assert leases.wanted(session, [held]) == {run_id: Wanted.CANCEL}
        record = sample_record(held.config, 0)
        assert leases.append_round(session, held, record, "c", lease_s=LEASE_S)
        leases.release(session, held, "told to stop")
    assert look(store, run_id).status is RunStatus.CANCELLED
    assert kinds(store, run_id) == ["created", "running", "cancel asked", "cancelled"]


@pytest.mark.parametrize("status", sorted(ENDED - {RunStatus.CANCELLED}))
def test_a_run_that_ended_otherwise_cannot_be_cancelled(store: Engine, status: RunStatus) -> None:
    run_id = stored_run(store, status=status)
    with (
        pytest.raises(IllegalTransition, match=f"run {run_id} is {status} and cannot be cancelled"),
        writing(store) as session,
    ):
        steering.request_cancel(session, run_id)


def test_a_run_does_not_finish_as_something_that_is_no_end(store: Engine) -> None:
    stored_run(store)
    held = claim(store)
    with (
        pytest.raises(IllegalTransition, match="is running and cannot be queued"),
        writing(store) as session,
    ):
        leases.finish(session, held, RunStatus.QUEUED)


def test_a_silent_worker_loses_its_run_and_its_fence(store: Engine) -> None:
    config = tiny_config(rounds=4)
    run_id = stored_run(store, config)
    old = claim(store, "old")
    with writing(store) as session:
        play(session, old, 2)
        expire_lease(session, run_id)
        assert leases.work_waits(session)
    new = claim(store, "new")
    assert (new.run_id, new.fence, new.rounds_done) == (run_id, old.fence + 1, 2)
    for write in (
        lambda s: leases.append_round(s, old, sample_record(config, 2), "c", lease_s=LEASE_S),
        lambda s: leases.beat(s, old, progress=0.5, lease_s=LEASE_S),
        lambda s: leases.finish(s, old, RunStatus.COMPLETED),
        lambda s: leases.release(s, old, "bye"),
        lambda s: leases.report_loss(s, old, "bye"),
        lambda s: leases.record_provenance(s, old, sample_provenance()),
    ):
        with pytest.raises(ClaimLost), writing(store) as session:
            write(session)
    with writing(store) as session:
        assert leases.wanted(session, [old]) == {}
        play(session, new, 2)
    assert look(store, run_id).owner == "new"
    assert kinds(store, run_id) == ["created", "running", "queued", "running"]


def test_a_worker_that_is_late_but_awake_keeps_its_run_for_a_while(store: Engine) -> None:
    run_id = stored_run(store)
    held = claim(store, "late")

    def awake(owner: str) -> bool:
        return owner == "late"

    def late_by(session: Session, seconds: float) -> None:
        lease_until = runs.get(session, run_id).lease_until
        assert lease_until is not None
        runs.get(session, run_id).lease_until = lease_until - LEASE_S - seconds
        session.flush()

    with writing(store) as session:
        late_by(session, 1.0)
        assert leases.work_waits(session)
        assert not leases.work_waits(session, is_awake=awake)
        assert leases.claim_next(session, "new", lease_s=LEASE_S, is_awake=awake) is None
        assert leases.requeue_stale(session, actor="new", is_awake=awake) == []
        play(session, held, 1)  # storing a round renews the lease
        late_by(session, leases.AWAKE_S + 1.0)
        assert leases.work_waits(session, is_awake=awake)
        assert leases.requeue_stale(session, actor="new", is_awake=awake) == [run_id]


def test_a_resumed_run_drops_rounds_beyond_its_checkpoint(store: Engine) -> None:
    config = tiny_config(rounds=4)
    run_id = stored_run(store, config, rounds=1)
    with writing(store) as session:
        stray = sample_record(config, 1).model_dump(mode="json")
        session.add(Round(run_id=run_id, fence=0, **stray))
    held = claim(store)
    with writing(store) as session:
        play(session, held, 1)
        assert session.scalar(select(func.count()).select_from(Round)) == 2


def test_a_dead_worker_of_this_machine_is_replaced_before_its_lease_ends(store: Engine) -> None:
    run_id = stored_run(store)
    claim(store, "dead")
    with writing(store) as session:
        assert leases.requeue_stale(session, actor="new", is_dead=lambda o: o == "alive") == []
        assert leases.requeue_stale(session, actor="new", is_dead=lambda o: o == "dead") == [run_id]


def test_a_run_that_kills_its_workers_ends_as_failed(store: Engine) -> None:
    run_id = stored_run(store)
    for _ in range(leases.MAX_ATTEMPTS):
        with writing(store) as session:
            runs.get(session, run_id).not_before = 0.0
        held = claim(store)
        with writing(store) as session:
            leases.report_loss(session, held, "ended by signal 9")
    run = look(store, run_id)
    assert run.status is RunStatus.FAILED
    assert run.reason == "gave up after 5 attempts without a finished round: ended by signal 9"


def test_a_run_waits_longer_after_each_loss_and_not_at_all_after_a_round(store: Engine) -> None:
    run_id = stored_run(store, tiny_config(rounds=9))
    held = claim(store)
    with writing(store) as session:
        leases.report_loss(session, held, "lost")
    held = claim(store)  # the first loss costs no time
    with writing(store) as session:
        leases.report_loss(session, held, "lost")
        assert leases.claim_next(session, "w", lease_s=LEASE_S) is None
        runs.get(session, run_id).not_before = 0.0
    held = claim(store)
    with writing(store) as session:
        play(session, held, 1)
        leases.report_loss(session, held, "lost")
    assert claim(store).attempt == 1


def test_a_run_cancelled_while_its_worker_died_is_not_started_again(store: Engine) -> None:
    run_id = stored_run(store)
    claim(store)
    with writing(store) as session:
        steering.request_cancel(session, run_id)
        expire_lease(session, run_id)
        assert leases.claim_next(session, "w", lease_s=LEASE_S) is None
    assert look(store, run_id).status is RunStatus.CANCELLED


def test_a_heartbeat_extends_the_lease_and_shows_progress(store: Engine) -> None:
    run_id = stored_run(store)
    held = claim(store)
    before = look(store, run_id).lease_until
    with writing(store) as session:
        leases.beat(session, held, progress=0.4, lease_s=2 * LEASE_S)
    run = look(store, run_id)
    assert run.progress == 0.4
    assert before is not None
    assert run.lease_until is not None
    assert run.lease_until > before


def test_time_left_follows_the_last_rounds(store: Engine) -> None:
    run_id = stored_run(store, tiny_config(rounds=4), rounds=2, status=RunStatus.RUNNING)
    with writing(store) as session:
        run = runs.get(session, run_id)
        assert rounds.seconds_left(session, run) == pytest.approx(2 * 1.5)
        run.progress = 0.5
        assert rounds.seconds_left(session, run) == pytest.approx(1.5 * 1.5)
    with reading(store) as session:
        waiting = runs.get(session, stored_run(store))
        assert rounds.seconds_left(session, waiting) is None


def test_a_change_of_environment_becomes_an_event(store: Engine) -> None:
    run_id = stored_run(store, rounds=1)
    held = claim(store)
    with writing(store) as session:
        leases.record_provenance(session, held, sample_provenance())
        leases.record_provenance(session, held, sample_provenance(threads=8))
    with reading(store) as session:
        last = runs.events(session, run_id)[-1]
    assert (last.kind, last.detail) == ("environment changed", "threads: 2 -> 8")


def test_lists_are_newest_first_in_pages_and_by_status(store: Engine) -> None:
    ids = [stored_run(store) for _ in range(3)]
    ended = stored_run(store, status=RunStatus.COMPLETED)
    with reading(store) as session:
        assert [run.id for run in runs.listed(session, limit=2)] == [ended, ids[2]]
        assert [run.id for run in runs.listed(session, before=ids[2])] == [ids[1], ids[0]]
        done = runs.listed(session, status=[RunStatus.COMPLETED, RunStatus.FAILED])
        assert [run.id for run in done] == [ended]


def test_workers_count_while_they_give_signs_of_life(store: Engine) -> None:
    stored_run(store, status=RunStatus.RUNNING)
    stored_run(store)
    with writing(store) as session:
        leases.worker_beat(session, "a", slots=1, lease_s=LEASE_S)
        leases.worker_beat(session, "a", slots=1, lease_s=LEASE_S)
        leases.worker_beat(session, "silent", slots=1, lease_s=-1.0)
        assert census.counts(session) == census.Counts(queued=1, running=1, workers=1)
        leases.worker_gone(session, "a")
        assert census.counts(session).workers == 0


@pytest.mark.parametrize(
    "change",
    [
        {"owner": None},
        {"lease_until": None},
        {"status": RunStatus.COMPLETED},
        {"rounds_done": 3},
        {"rounds_done": 1},
        {"progress": 1.5},
    ],
)
def test_the_tables_refuse_what_the_state_machine_excludes(
    store: Engine, change: dict[str, object]
) -> None:
    run_id = stored_run(store, status=RunStatus.RUNNING)
    changed = update(Run).where(Run.id == run_id).values(change)
    with pytest.raises(IntegrityError), writing(store) as session:
        session.execute(changed)


def test_a_config_of_another_version_fails_the_run_and_not_the_worker(store: Engine) -> None:
    run_id = stored_run(store)
    with writing(store) as session:
        session.execute(update(Run).where(Run.id == run_id).values(config={"tea": 1}))
        assert leases.claim_next(session, "w", lease_s=LEASE_S) is None
    run = look(store, run_id)
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert "another version of Meshtune: tea: there is no such field" in run.reason


@pytest.mark.parametrize("byte", ["\0", "\ud800"])
def test_a_reason_that_no_database_can_hold_still_ends_the_run(store: Engine, byte: str) -> None:
    stored_run(store)
    held = claim(store)
    with writing(store) as session:
        leases.finish(session, held, RunStatus.FAILED, f"cannot read {byte}")
    run = look(store, held.run_id)
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert run.reason.startswith("cannot read ")
