"""Sweeps in the store: which runs they queue, which they share, what stops with them."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, delete, func, select

from meshtune.db import leases, runs, sweeps
from meshtune.db.clock import today
from meshtune.db.models import Base, Round, Run, RunEvent
from meshtune.db.session import reading, writing
from meshtune.db.sweeps import SweepNotFound
from meshtune.engine.records import RunStatus
from meshtune.engine.sweep import SweepSpec, cells
from tests.support.builders import play, stored_run, tiny_config

RATES = {"training.learning_rate": [0.01, 0.1]}
TINY = tiny_config().model_dump(mode="json")


def spec(**values: Any) -> SweepSpec:
    return SweepSpec.model_validate({"base": TINY, "axes": RATES, "seeds": [0, 1], **values})


def started(store: Engine, **values: Any) -> int:
    asked = spec(**values)
    planned = cells(asked)
    with writing(store) as session:
        return sweeps.create(session, asked, planned).id


def run_ids(store: Engine, sweep_id: int) -> list[int | None]:
    with reading(store) as session:
        return [state.outcome.run_id for state in sweeps.states(session, sweep_id)]


def statuses(store: Engine, sweep_id: int) -> dict[str, int]:
    with reading(store) as session:
        return sweeps.status_counts(session, [sweep_id])[sweep_id]


def count_runs(store: Engine) -> int:
    with reading(store) as session:
        return session.scalar(select(func.count()).select_from(Run)) or 0


def finish_all(store: Engine, status: RunStatus = RunStatus.COMPLETED, rounds: int = 2) -> None:
    with writing(store) as session:
        while claim := leases.claim_next(session, "w", lease_s=20.0):
            play(session, claim, rounds)
            leases.finish(session, claim, status)


def test_a_sweep_queues_a_run_per_cell_in_order(store: Engine) -> None:
    sweep_id = started(store)
    planned = cells(spec())
    with reading(store) as session:
        found = sweeps.states(session, sweep_id)
        for position, (state, cell) in enumerate(zip(found, planned, strict=True)):
            assert state.position == position
            assert (state.outcome.values, state.outcome.seed) == (cell.values, cell.seed)
            run = runs.get(session, state.outcome.run_id)
            assert runs.config_of(run) == cell.config
            assert run.status is RunStatus.QUEUED
    assert statuses(store, sweep_id) == {"queued": 4}


def test_equal_cells_share_one_run(store: Engine) -> None:
    sweep_id = started(store, axes={"training.learning_rate": [1, 1.0, 0.5]}, seeds=None)
    one, same, other = run_ids(store, sweep_id)
    assert one == same != other
    assert count_runs(store) == 2


def test_a_completed_run_is_reused_whatever_its_name(store: Engine) -> None:
    config = cells(spec())[2].config.model_copy(update={"name": "by hand"})
    by_hand = stored_run(store, config, rounds=2, status=RunStatus.COMPLETED)
    sweep_id = started(store)
    assert run_ids(store, sweep_id)[2] == by_hand
    assert count_runs(store) == 4
    with reading(store) as session:
        assert [s.reused for s in sweeps.states(session, sweep_id)] == [False, False, True, False]


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.DIVERGED])
def test_what_ended_otherwise_is_trained_again(store: Engine, status: RunStatus) -> None:
    before = stored_run(store, cells(spec())[0].config, rounds=1, status=status)
    assert before not in run_ids(store, started(store))


def test_a_fresh_sweep_reuses_nothing_but_its_own(store: Engine) -> None:
    first = started(store)
    finish_all(store)
    assert run_ids(store, started(store)) == run_ids(store, first)
    again = run_ids(store, started(store, fresh=True))
    assert not set(again) & set(run_ids(store, first))
    assert len(set(again)) == 4


def test_a_deleted_run_is_not_reused_and_its_cell_says_so(store: Engine) -> None:
    first = started(store, seeds=None)
    finish_all(store)
    with writing(store) as session:
        runs.get(session, run_ids(store, first)[0]).deleted_at = today()
    assert statuses(store, first) == {"completed": 1, "deleted": 1}
    assert run_ids(store, first)[0] is None
    second = started(store, seeds=None)
    assert statuses(store, second) == {"completed": 1, "queued": 1}


def test_a_purged_run_leaves_its_cell_behind(store: Engine) -> None:
    sweep_id = started(store, seeds=None)
    gone, stays = run_ids(store, sweep_id)
    with writing(store) as session:
        for table in (Round, RunEvent):
            session.execute(delete(table).where(table.run_id == gone))
        session.execute(delete(Run).where(Run.id == gone))
    assert run_ids(store, sweep_id) == [None, stays]


def test_stopping_cancels_what_waits_and_keeps_what_is_done(store: Engine) -> None:
    sweep_id = started(store)
    with writing(store) as session:
        done = leases.claim_next(session, "w", lease_s=20.0)
        assert done is not None
        play(session, done, 2)
        leases.finish(session, done, RunStatus.COMPLETED)
        under_way = leases.claim_next(session, "w", lease_s=20.0)
        assert under_way is not None
    with writing(store) as session:
        assert sweeps.stop(session, sweep_id).stopped_at is not None
    assert statuses(store, sweep_id) == {"completed": 1, "running": 1, "cancelled": 2}
    with writing(store) as session:
        leases.release(session, under_way, "told to stop")
    assert statuses(store, sweep_id) == {"completed": 1, "cancelled": 3}
    with writing(store) as session:
        stopped_at = sweeps.get(session, sweep_id).stopped_at
        assert sweeps.stop(session, sweep_id).stopped_at == stopped_at


def test_stopping_leaves_the_run_of_a_person_alone(store: Engine) -> None:
    by_hand = stored_run(store, cells(spec())[0].config)
    sweep_id = started(store)
    assert by_hand in run_ids(store, sweep_id)
    with writing(store) as session:
        sweeps.stop(session, sweep_id)
    assert statuses(store, sweep_id) == {"queued": 1, "cancelled": 3}


@pytest.mark.parametrize("first_stopped", [0, 1])
def test_a_shared_run_stops_with_the_last_sweep_that_wants_it(
    store: Engine, first_stopped: int
) -> None:
    pair = [started(store), started(store, seeds=[1, 2])]
    shared = set(run_ids(store, pair[0])) & set(run_ids(store, pair[1]))
    assert len(shared) == 2
    with writing(store) as session:
        sweeps.stop(session, pair[first_stopped])
    assert statuses(store, pair[first_stopped]) == {"queued": 2, "cancelled": 2}
    with writing(store) as session:
        sweeps.stop(session, pair[1 - first_stopped])
    assert statuses(store, pair[0]) == statuses(store, pair[1]) == {"cancelled": 4}


def test_a_cell_tells_what_its_run_has_come_to(store: Engine) -> None:
    sweep_id = started(store)
    finish_all(store)
    with reading(store) as session:
        for state in sweeps.states(session, sweep_id):
            run = runs.get(session, state.outcome.run_id)
            assert state.outcome.status == "completed"
            assert (state.rounds_done, state.rounds_total) == (2, 2)
            assert state.outcome.metrics["accuracy_all"] == run.accuracy_all
            assert state.outcome.metrics["sent_bits"] == run.sent_bits


def test_lists_come_newest_first_in_pages(store: Engine) -> None:
    ids = [started(store, seeds=None) for _ in range(3)]
    with reading(store) as session:
        assert [sweep.id for sweep in sweeps.listed(session, limit=2)] == [ids[2], ids[1]]
        assert [sweep.id for sweep in sweeps.listed(session, before=ids[1])] == [ids[0]]


def test_an_unknown_sweep_is_named(store: Engine) -> None:
    with reading(store) as session, pytest.raises(SweepNotFound, match="no sweep 5"):
        sweeps.get(session, 5)
    with writing(store) as session, pytest.raises(SweepNotFound):
        sweeps.stop(session, 5)


def test_a_sweep_that_fails_halfway_queues_nothing(store: Engine) -> None:
    asked = spec()
    planned = cells(asked)

    def create_and_fail() -> None:
        with writing(store) as session:
            sweeps.create(session, asked, planned)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        create_and_fail()
    assert count_runs(store) == 0


def test_the_migration_gives_the_tables_of_the_models(store: Engine) -> None:
    with store.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Base.metadata)
    assert [each for each in differences if "sweep" in repr(each)] == []
