"""The process that trains, without the process: one claim, worked on in place."""

from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import Engine

from backend.settings import Settings
from backend.trainer import Ended, Order, Outcome, Progress, Stored, Trainer
from db import runs
from db.session import reading, writing
from engine.config import RunConfig
from engine.records import RunStatus
from tests.support.builders import LEASE_S, expire_lease, stored_run, tiny_config
from tests.support.fake_engine import load


class Bench:
    """A claimed run and both ends of the pipe."""

    def __init__(self, store: Engine, settings: Settings, ours: Connection, theirs: Connection):
        self.store, self.settings, self.ours, self.theirs = store, settings, ours, theirs

    def claim(self, config: RunConfig | None = None) -> runs.Claim:
        if config is not None:
            stored_run(self.store, config)
        with writing(self.store) as session:
            claim = runs.claim_next(session, "w", lease_s=LEASE_S)
        assert claim is not None
        return claim

    def work(self, claim: runs.Claim) -> Ended:
        return Trainer(self.theirs, self.settings, self.store, claim).work(load())

    def heard(self) -> list[object]:
        found = []
        while self.ours.poll():
            found.append(self.ours.recv())
        return found

    def files(self) -> list[str]:
        return sorted(path.name for path in self.settings.checkpoint_dir.iterdir())

    def rounds(self, claim: runs.Claim) -> int:
        with reading(self.store) as session:
            return runs.get(session, claim.run_id).rounds_done


@pytest.fixture
def bench(store: Engine, settings: Settings) -> Iterator[Bench]:
    ours, theirs = Pipe()
    yield Bench(store, settings, ours, theirs)
    ours.close()
    theirs.close()


def test_it_tells_progress_and_rounds_and_the_end(bench: Bench) -> None:
    claim = bench.claim(tiny_config(rounds=2))
    assert bench.work(claim) == Ended(RunStatus.COMPLETED)
    heard = bench.heard()
    assert heard[0] == Progress(0.0)
    assert [each for each in heard if isinstance(each, Stored)] == [Stored(0), Stored(1)]


def test_stop_is_obeyed_before_the_next_step(bench: Bench) -> None:
    claim = bench.claim(tiny_config())
    bench.ours.send(Order.STOP)
    assert bench.work(claim) == Ended(Outcome.INTERRUPTED)
    assert bench.rounds(claim) == 0


def test_finish_round_is_obeyed_after_the_round(bench: Bench) -> None:
    claim = bench.claim(tiny_config(rounds=3))
    bench.ours.send(Order.FINISH_ROUND)
    assert bench.work(claim) == Ended(Outcome.INTERRUPTED)
    assert bench.rounds(claim) == 1


def test_a_wish_to_stop_that_comes_with_the_last_round_changes_nothing(bench: Bench) -> None:
    claim = bench.claim(tiny_config(rounds=1))
    bench.ours.send(Order.FINISH_ROUND)
    assert bench.work(claim) == Ended(RunStatus.COMPLETED)


def test_a_lost_claim_ends_the_work_quietly(bench: Bench) -> None:
    claim = bench.claim(tiny_config())
    with writing(bench.store) as session:
        expire_lease(session, claim.run_id)
    heir = bench.claim()
    ended = bench.work(claim)
    assert ended.outcome is Outcome.CLAIM_LOST
    assert bench.work(heir) == Ended(RunStatus.COMPLETED)


def test_only_the_last_files_are_kept_and_left_overs_removed(bench: Bench) -> None:
    claim = bench.claim(tiny_config(rounds=6))
    folder = bench.settings.checkpoint_dir
    bench.ours.send(Order.FINISH_ROUND)
    bench.work(claim)
    with writing(bench.store) as session:
        runs.release(session, claim, "")
    for stray in ("1-1-f1.safetensors", "1-0-f1.safetensors.tmp", "1-5-f9.safetensors"):
        (folder / stray).write_text("left over", encoding="utf-8")
    (folder / "11-0-f1.safetensors").write_text("of another run", encoding="utf-8")
    bench.ours.send(Order.FINISH_ROUND)
    heir = bench.claim()
    bench.work(heir)
    others = ["1-5-f9.safetensors", "11-0-f1.safetensors"]  # a later claim's, another run's
    assert bench.files() == ["1-0-f1.safetensors", "1-1-f2.safetensors", *others]
    with writing(bench.store) as session:
        runs.release(session, heir, "")
    bench.heard()
    assert bench.work(bench.claim()) == Ended(RunStatus.COMPLETED)
    assert bench.files() == ["1-4-f3.safetensors", "1-5-f3.safetensors", *others]


def test_a_missing_checkpoint_is_told_in_plain_words(bench: Bench) -> None:
    stored_run(bench.store, rounds=1)
    ended = bench.work(bench.claim())
    assert ended.outcome is RunStatus.FAILED
    assert ended.reason is not None
    assert ended.reason.startswith("checkpoint 1-0-f1.safetensors cannot be read")


def test_a_state_folder_that_is_gone_is_made_again(bench: Bench, tmp_path: Path) -> None:
    claim = bench.claim(tiny_config())
    elsewhere = bench.settings.model_copy(update={"state_dir": tmp_path / "new"})
    trainer = Trainer(bench.theirs, elsewhere, bench.store, claim)
    assert trainer.work(load()) == Ended(RunStatus.COMPLETED)
