"""What people ask of runs: every request, from every state, with its event."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from meshtune.db import curves, leases, rounds, runs, steering
from meshtune.db.errors import IllegalTransition, RunNotFound
from meshtune.db.models import Round, Run, RunEvent, Wanted
from meshtune.db.session import open_engine, reading, upgrade, writing
from meshtune.engine.records import ENDED, LEGAL_MOVES, RunStatus
from tests.support.builders import (
    LEASE_S,
    expire_lease,
    play,
    sample_record,
    stored_run,
    tiny_config,
)

ACTOR = "token night"
R = RunStatus
REQUESTS: dict[str, Callable[..., object]] = {
    "pause": steering.request_pause,
    "resume": steering.request_resume,
    "cancel": steering.request_cancel,
    "retry": steering.retry,
    "delete": steering.delete,
}
# Where a run of so and so stands after a request; what is not here is refused.
AFTER: dict[tuple[str, RunStatus], RunStatus] = {
    ("pause", R.QUEUED): R.PAUSED,
    ("pause", R.RUNNING): R.RUNNING,
    ("pause", R.PAUSED): R.PAUSED,
    ("resume", R.QUEUED): R.QUEUED,
    ("resume", R.RUNNING): R.RUNNING,
    ("resume", R.PAUSED): R.QUEUED,
    ("cancel", R.QUEUED): R.CANCELLED,
    ("cancel", R.RUNNING): R.RUNNING,
    ("cancel", R.PAUSED): R.CANCELLED,
    ("cancel", R.CANCELLED): R.CANCELLED,
    ("retry", R.FAILED): R.QUEUED,
    ("delete", R.QUEUED): R.CANCELLED,
    ("delete", R.PAUSED): R.CANCELLED,
    **{("delete", status): status for status in ENDED},
}


def claim(store: Engine) -> leases.Claim:
    with writing(store) as session:
        claimed = leases.claim_next(session, "w", lease_s=LEASE_S)
    assert claimed is not None
    return claimed


def ask(store: Engine, request: str, run_id: int) -> None:
    with writing(store) as session:
        REQUESTS[request](session, run_id, actor=ACTOR)


def row(store: Engine, run_id: int) -> Run:
    """The run, deleted or not."""
    with reading(store) as session:
        run = session.get(Run, run_id)
        assert run is not None
        return run


def told(store: Engine, run_id: int) -> list[RunEvent]:
    with reading(store) as session:
        return runs.events(session, run_id)


@pytest.mark.parametrize("request_name", sorted(REQUESTS))
@pytest.mark.parametrize("status", sorted(RunStatus))
def test_each_request_moves_a_run_as_the_table_says_or_changes_nothing(
    store: Engine, request_name: str, status: RunStatus
) -> None:
    run_id = stored_run(store, tiny_config(rounds=3), rounds=1, status=status)
    before = len(told(store, run_id))
    after = AFTER.get((request_name, status))
    if after is None:
        with pytest.raises(IllegalTransition) as refused:
            ask(store, request_name, run_id)
        sentence = str(refused.value)
        assert sentence.startswith(f"run {run_id} is {status} and cannot be ")
        assert "; " in sentence  # and what to do instead
        assert row(store, run_id).status is status
        assert len(told(store, run_id)) == before
        return
    ask(store, request_name, run_id)
    assert row(store, run_id).status is after
    moved = told(store, run_id)[before:]
    assert {event.actor for event in moved} <= {ACTOR}
    if after is not status:
        assert after in LEGAL_MOVES[status]
        assert moved[0].kind == after
        assert moved[0].detail
        assert abs((datetime.now(UTC) - moved[0].at).total_seconds()) < 60


@pytest.mark.parametrize("request_name", ["pause", "cancel", "resume"])
@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.RUNNING])
def test_asking_twice_is_told_once(store: Engine, request_name: str, status: RunStatus) -> None:
    run_id = stored_run(store, status=status)
    ask(store, request_name, run_id)
    events = [event.id for event in told(store, run_id)]
    ask(store, request_name, run_id)
    assert [event.id for event in told(store, run_id)] == events


def test_a_paused_run_goes_on_after_its_last_finished_round(store: Engine) -> None:
    run_id = stored_run(store, tiny_config(rounds=4))
    held = claim(store)
    with writing(store) as session:
        play(session, held, 1)
    ask(store, "pause", run_id)
    with writing(store) as session:
        assert leases.wanted(session, [held]) == {run_id: Wanted.PAUSE}
        record = sample_record(held.config, 1)
        assert leases.append_round(session, held, record, "second", lease_s=LEASE_S)
        assert leases.release(session, held, "told to stop").status is RunStatus.PAUSED
        assert not leases.work_waits(session)
        assert leases.claim_next(session, "w", lease_s=LEASE_S) is None
    ask(store, "resume", run_id)
    again = claim(store)
    assert (again.run_id, again.rounds_done, again.checkpoint) == (run_id, 2, "second")
    assert again.fence > held.fence
    kinds = [event.kind for event in told(store, run_id)]
    assert kinds == ["created", "running", "pause asked", "paused", "queued", "running"]


@pytest.mark.parametrize("wanted", ["pause", "cancel"])
@pytest.mark.parametrize("how", ["silent", "lost", "released"])
def test_a_worker_that_dies_before_it_obeys_does_not_undo_what_was_asked(
    store: Engine, wanted: str, how: str
) -> None:
    run_id = stored_run(store)
    held = claim(store)
    ask(store, wanted, run_id)
    with writing(store) as session:
        if how == "silent":
            expire_lease(session, run_id)
        else:
            give = leases.report_loss if how == "lost" else leases.release
            give(session, held, "gone")
        assert leases.claim_next(session, "w", lease_s=LEASE_S) is None
    stopped = {"pause": RunStatus.PAUSED, "cancel": RunStatus.CANCELLED}
    assert row(store, run_id).status is stopped[wanted]


def test_a_pause_that_is_not_yet_obeyed_can_be_taken_back(store: Engine) -> None:
    run_id = stored_run(store)
    held = claim(store)
    ask(store, "pause", run_id)
    ask(store, "resume", run_id)
    with writing(store) as session:
        assert leases.wanted(session, [held]) == {run_id: Wanted.RUN}
        assert leases.release(session, held, "told to stop").status is RunStatus.QUEUED


@pytest.mark.parametrize("request_name", ["pause", "resume"])
def test_a_cancel_stays_a_cancel(store: Engine, request_name: str) -> None:
    run_id = stored_run(store, status=RunStatus.RUNNING)
    ask(store, "pause", run_id)
    ask(store, "cancel", run_id)
    with pytest.raises(IllegalTransition, match="it is being cancelled"):
        ask(store, request_name, run_id)
    assert row(store, run_id).wanted is Wanted.CANCEL


def test_a_retried_run_has_all_its_attempts_and_rounds(store: Engine) -> None:
    run_id = stored_run(store, tiny_config(rounds=4), rounds=2, status=RunStatus.FAILED)
    with writing(store) as session:
        runs.get(session, run_id).attempt = leases.MAX_ATTEMPTS
    ask(store, "retry", run_id)
    run = row(store, run_id)
    assert (run.finished_at, run.reason, run.wanted) == (None, None, Wanted.RUN)
    again = claim(store)
    assert (again.run_id, again.attempt, again.rounds_done) == (run_id, 1, 2)
    with writing(store) as session:
        play(session, again, 2)
        leases.finish(session, again, RunStatus.COMPLETED)
    assert row(store, run_id).rounds_done == 4


def test_higher_priority_goes_first_then_older(store: Engine) -> None:
    ids = [stored_run(store) for _ in range(4)]
    with writing(store) as session:
        for run_id, priority in zip(ids, (0, 5, -3, 5), strict=True):
            steering.set_priority(session, run_id, priority, actor=ACTOR)
    assert [claim(store).run_id for _ in ids] == [ids[1], ids[3], ids[0], ids[2]]


def test_changes_of_a_run_are_told_once_with_what_changed(store: Engine) -> None:
    run_id = stored_run(store, tiny_config(name="old"))
    for _ in range(2):
        with writing(store) as session:
            steering.set_priority(session, run_id, 7, actor=ACTOR)
            steering.annotate(session, run_id, "look at device 3", actor=ACTOR)
            steering.rename(session, run_id, "new", actor=ACTOR)
    with writing(store) as session:
        assert steering.annotate(session, run_id, "").note is None
    told_of = [(event.kind, event.detail) for event in told(store, run_id)[1:]]
    assert told_of == [
        ("priority", "0 -> 7"),
        ("note", "look at device 3"),
        ("renamed", "old -> new"),
        ("note", None),
    ]
    with reading(store) as session:
        assert runs.config_of(runs.get(session, run_id)).name == "old"


@pytest.mark.parametrize(
    "change",
    [
        lambda s, i: steering.set_priority(s, i, 101),
        lambda s, i: steering.set_priority(s, i, -101),
        lambda s, i: steering.annotate(s, i, "x" * 2001),
        lambda s, i: steering.rename(s, i, ""),
        lambda s, i: steering.rename(s, i, "x" * 81),
    ],
)
def test_values_beyond_their_bounds_are_refused(
    store: Engine, change: Callable[[Session, int], Run]
) -> None:
    run_id = stored_run(store)
    with pytest.raises(ValueError, match="not"), writing(store) as session:
        change(session, run_id)
    assert len(told(store, run_id)) == 1


def test_a_clone_names_its_origin_even_after_that_is_gone(store: Engine) -> None:
    origin = stored_run(store)
    with writing(store) as session:
        clone = runs.create(session, tiny_config(seed=9), cloned_from=origin, actor=ACTOR).id
    assert (told(store, clone)[0].actor, told(store, clone)[0].detail) == (
        ACTOR,
        f"cloned from run {origin}",
    )
    ask(store, "delete", origin)
    with writing(store) as session:
        assert steering.purge_deleted(session, older_than_s=0.0) == [origin]
    assert row(store, clone).cloned_from == origin
    with writing(store) as session, pytest.raises(RunNotFound):
        runs.create(session, tiny_config(), cloned_from=origin)


def test_a_deleted_run_is_hidden_until_it_is_restored(store: Engine) -> None:
    run_id = stored_run(store, rounds=1, status=RunStatus.COMPLETED)
    ask(store, "delete", run_id)
    with reading(store) as session:
        assert runs.listed(session) == []
        assert [run.id for run in runs.listed(session, only=runs.Only(deleted=True))] == [run_id]
        with pytest.raises(RunNotFound, match="was deleted"):
            runs.get(session, run_id)
    for name in REQUESTS:
        with pytest.raises(RunNotFound, match="was deleted"):
            ask(store, name, run_id)
    for _ in range(2):
        with writing(store) as session:
            assert steering.restore(session, run_id, actor=ACTOR).status is RunStatus.COMPLETED
    with reading(store) as session:
        assert len(rounds.listed(session, run_id)) == 1
        assert runs.listed(session, only=runs.Only(deleted=True)) == []
    assert [event.kind for event in told(store, run_id)][-2:] == ["deleted", "restored"]


def test_a_restored_run_is_not_started_by_itself(store: Engine) -> None:
    run_id = stored_run(store)
    ask(store, "delete", run_id)
    with writing(store) as session:
        steering.restore(session, run_id)
        assert leases.claim_next(session, "w", lease_s=LEASE_S) is None


def test_a_deleted_run_is_forgotten_after_a_day_and_no_other(store: Engine) -> None:
    old, young, kept = (stored_run(store, rounds=1, status=RunStatus.COMPLETED) for _ in range(3))
    ask(store, "delete", old)
    ask(store, "delete", young)
    with writing(store) as session:
        a_day_ago = datetime.fromtimestamp(datetime.now(UTC).timestamp() - steering.UNDO_S - 1, UTC)
        session.get_one(Run, old).deleted_at = a_day_ago
    with writing(store) as session:
        assert steering.purge_deleted(session) == [old]
    with writing(store) as session:
        assert steering.purge_deleted(session) == []
        for table in (Round, RunEvent):
            left = set(session.scalars(select(table.run_id)))
            assert left == {young, kept}
        with pytest.raises(RunNotFound, match="no run"):
            steering.restore(session, old)


def test_the_number_of_a_purged_run_is_not_given_again(store: Engine) -> None:
    run_id = stored_run(store)
    ask(store, "delete", run_id)
    with writing(store) as session:
        steering.purge_deleted(session, older_than_s=0.0)
    assert stored_run(store) > run_id


def test_lists_are_of_those_that_match(store: Engine) -> None:
    first = stored_run(store, tiny_config(name="100% mesh"), status=RunStatus.FAILED)
    second = stored_run(store, tiny_config(name="100 rings", method__kind="local"))
    with writing(store) as session:
        steering.annotate(session, second, "for the Night")

    def found(**only: object) -> list[int]:
        with reading(store) as session:
            return [run.id for run in runs.listed(session, only=runs.Only(**only))]  # type: ignore[arg-type]

    assert found(name="100 rings") == [second]
    assert found(name="100") == []
    assert found(method="lora_gossip") == [first]
    assert found(text="night") == [second]
    assert found(text="WHY") == [first]  # its reason
    assert found(text="100%") == [first]
    assert found(text="100") == [second, first]
    assert found(text="100", status=[RunStatus.QUEUED]) == [second]
    assert found(text="1_0") == []


@pytest.mark.parametrize("every", [1, 2, 3, 7, 10, 11, 500])
def test_every_so_many_rounds_are_those_of_all_and_the_last(store: Engine, every: int) -> None:
    run_id = stored_run(store, tiny_config(rounds=20), rounds=11, status=RunStatus.RUNNING)
    with reading(store) as session:
        everything = rounds.listed(session, run_id)
        some = rounds.listed(session, run_id, every=every)
        later = rounds.listed(session, run_id, every=every, after=4)
    kept = [each for each in everything if each.round_index % every == 0 or each is everything[-1]]
    assert some == kept
    assert later == [each for each in kept if each.round_index > 4]


@pytest.mark.sqlite
def test_curves_never_touch_the_lists_of_rounds(store: Engine) -> None:
    columns = ", ".join(curves.TOTALS)
    query = f"SELECT round_index, {columns} FROM rounds WHERE run_id = 1 ORDER BY round_index"
    with reading(store) as session:
        plan = session.execute(text(f"EXPLAIN QUERY PLAN {query}")).all()
    assert [each.detail for each in plan] == [
        "SEARCH rounds USING COVERING INDEX ix_rounds_totals (run_id=?)"
    ]


# Databases of earlier versions


def older_database(folder: Path, revision: str) -> Path:
    """A database at `revision` with a running run, its round and two events, as it was stored."""
    file = folder / "meshtune.db"
    engine = open_engine(f"sqlite:///{file}")
    upgrade(engine, revision)
    engine.dispose()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(
            "INSERT INTO runs (id, name, method, seed, devices, rounds_total, config,"
            " config_sha256, status, wanted, created_at, started_at, priority, not_before, owner,"
            " fence, lease_until, attempt, rounds_done, checkpoint, progress, sent_bits,"
            " airtime_s, energy_j) VALUES (3, 'old', 'local', 0, 2, 2, ?, 'x', 'running', 'cancel',"
            " 1.5, 2.5, 0, 0, 'w', 4, 1.0, 0, 1, '3-0-f4', 0.5, 10, 0.25, 0.5)",
            (tiny_config().model_dump_json(),),
        )
        connection.execute(
            "INSERT INTO rounds (run_id, round_index, fence, train_loss, consensus_distance,"
            " sent_bits, airtime_s, energy_j, wall_s, devices, scores, links, extra)"
            " VALUES (3, 0, 4, 2.0, 0.1, 10, 0.25, 0.5, 1.5, '[]', '[]', '[]', '{}')"
        )
        for kind in ("created", "running"):
            connection.execute(
                "INSERT INTO run_events (run_id, at, kind, actor, fence)"
                " VALUES (3, 2.5, ?, 'p', 4)",
                (kind,),
            )
    return file


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_a_run_of_an_earlier_version_is_read_and_steered_by_this_one(
    tmp_path: Path, revision: str
) -> None:
    engine = open_engine(f"sqlite:///{older_database(tmp_path, revision)}")
    upgrade(engine)
    with writing(engine) as session:
        assert session.execute(text("PRAGMA foreign_key_check")).all() == []
        assert session.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        run = runs.get(session, 3)
        assert (run.name, run.rounds_done, run.wanted) == ("old", 1, Wanted.CANCEL)
        assert (run.note, run.cloned_from, run.deleted_at) == (None, None, None)
        assert len(rounds.listed(session, 3)) == 1
        assert leases.requeue_stale(session, actor="w") == [3]
        assert [event.kind for event in runs.events(session, 3)][-1] == "cancelled"
        assert stored_number(session) == 4
    with pytest.raises(IntegrityError), writing(engine) as session:
        session.execute(text("UPDATE runs SET status = 'lost' WHERE id = 3"))
    with pytest.raises(IntegrityError), writing(engine) as session:
        session.execute(text("DELETE FROM runs WHERE id = 3"))  # its rounds hold it
    assert indexes(engine, "runs") >= {"ix_runs_queue", "ix_runs_config_sha256"}
    engine.dispose()


def stored_number(session: Session) -> int:
    paused = steering.request_pause(session, runs.create(session, tiny_config()).id)
    assert paused.status is RunStatus.PAUSED
    return paused.id


def indexes(engine: Engine, table: str) -> set[str]:
    with reading(engine) as session:
        query = text("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = :table")
        return set(session.scalars(query, {"table": table}))


def test_a_large_upgrade_keeps_every_row(tmp_path: Path) -> None:
    file = older_database(tmp_path, "0003")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executemany(
            "INSERT INTO rounds (run_id, round_index, fence, train_loss, consensus_distance,"
            " sent_bits, airtime_s, energy_j, wall_s, devices, scores, links, extra)"
            " VALUES (3, ?, 4, 2.0, 0.1, 10, 0.25, 0.5, 1.5, '[]', '[]', '[]', '{}')",
            [(index,) for index in range(1, 5000)],
        )
    engine = open_engine(f"sqlite:///{file}")
    upgrade(engine)
    with reading(engine) as session:
        assert session.scalar(select(func.count()).select_from(Round)) == 5000
    engine.dispose()
