"""The process that trains, without the process: one claim, worked on in place."""

from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import Engine

from meshtune.backend.settings import Settings
from meshtune.backend.training import trainer as trainer_module
from meshtune.backend.training.artefacts import open_artefacts
from meshtune.backend.training.engine import load_engine
from meshtune.backend.training.orders import Ended, Order, Outcome, Progress, Stored
from meshtune.backend.training.trainer import Trainer
from meshtune.db import leases, rounds, runs
from meshtune.db.session import reading, writing
from meshtune.engine.config import RunConfig
from meshtune.engine.records import RunStatus
from tests.support.builders import LEASE_S, expire_lease, stored_run, tiny_config
from tests.support.fake_engine import load, uninterrupted
from tests.support.workers import records


class Bench:
    """A claimed run and both ends of the pipe."""

    def __init__(self, store: Engine, settings: Settings, ours: Connection, theirs: Connection):
        self.store, self.settings, self.ours, self.theirs = store, settings, ours, theirs

    def claim(self, config: RunConfig | None = None) -> leases.Claim:
        if config is not None:
            stored_run(self.store, config)
        with writing(self.store) as session:
            claim = leases.claim_next(session, "w", lease_s=LEASE_S)
        assert claim is not None
        return claim

    def work(self, claim: leases.Claim) -> Ended:
        return Trainer(self.theirs, self.settings, self.store, claim).work(load())

    def heard(self) -> list[object]:
        found = []
        while self.ours.poll():
            found.append(self.ours.recv())
        return found

    def files(self) -> list[str]:
        return sorted(path.name for path in self.settings.checkpoint_dir.iterdir())

    def rounds(self, claim: leases.Claim) -> int:
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


def test_messages_that_change_nobody_are_told_once_among_the_events(bench: Bench) -> None:
    claim = bench.claim(tiny_config(name="unmixed", rounds=5))
    assert bench.work(claim) == Ended(RunStatus.COMPLETED)
    with reading(bench.store) as session:
        told = [e.detail for e in runs.events(session, claim.run_id) if e.kind == "warning"]
    assert len(told) == 1
    assert str(told[0]).startswith("rounds 1 to 3: messages are paid for and none is heard")


def test_values_that_overflow_on_air_end_the_run_as_diverged(bench: Bench) -> None:
    config = tiny_config(
        seed=1,
        fleet__tasks=["reading", "addition"],
        fleet__train_samples=2000,
        topology__kind="line",
        adapter__alpha=1024.0,
        adapter__rank=1,
        adapter__value_bits=8,
        training__optimizer="sgd",
        training__learning_rate=100.0,
        training__clip_norm=0.0,
        training__warmup_steps=0,
        training__local_steps=10,
        training__batch_size=16,
    )
    trainer = Trainer(bench.theirs, bench.settings, bench.store, bench.claim(config))
    assert trainer.work(load_engine()) == Ended(
        RunStatus.DIVERGED,
        "an adapter grew past 65,504, the most that 8 bits can carry, in round 1 on device 1; "
        "lower training.learning_rate, or set adapter.value_bits to 32",
    )


def test_a_run_whose_messages_are_averaged_has_no_warning(bench: Bench) -> None:
    claim = bench.claim(tiny_config(rounds=4))
    bench.work(claim)
    with reading(bench.store) as session:
        assert "warning" not in [event.kind for event in runs.events(session, claim.run_id)]


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
        leases.release(session, claim, "")
    for stray in ("1-1-f1.safetensors", "1-0-f1.safetensors.tmp", "1-5-f9.safetensors"):
        (folder / stray).write_text("left over", encoding="utf-8")
    (folder / "11-0-f1.safetensors").write_text("of another run", encoding="utf-8")
    bench.ours.send(Order.FINISH_ROUND)
    heir = bench.claim()
    bench.work(heir)
    others = ["1-5-f9.safetensors", "11-0-f1.safetensors"]  # a later claim's, another run's
    assert bench.files() == ["1-0-f1.safetensors", "1-1-f2.safetensors", *others]
    with writing(bench.store) as session:
        leases.release(session, heir, "")
    bench.heard()
    assert bench.work(bench.claim()) == Ended(RunStatus.COMPLETED)
    assert bench.files() == ["1-4-f3.safetensors", "1-5-f3.safetensors", *others]


def stopped_after(bench: Bench, rounds: int, config: RunConfig | None = None) -> leases.Claim:
    """A claim on a run that stands after so many rounds, with its checkpoints."""
    for done in range(rounds):
        claim = bench.claim(config if done == 0 else None)
        bench.ours.send(Order.FINISH_ROUND)
        assert bench.work(claim) == Ended(Outcome.INTERRUPTED)
        with writing(bench.store) as session:
            leases.release(session, claim, "")
    bench.heard()
    return bench.claim()


def told(bench: Bench, claim: leases.Claim) -> list[str | None]:
    with reading(bench.store) as session:
        return [e.detail for e in runs.events(session, claim.run_id) if e.kind == "recovered"]


def spoil(path: Path, how: str) -> None:
    match how:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(path.read_bytes()[:3])
        case _:
            path.write_bytes(b"x" * 100)


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "other bytes"])
@pytest.mark.parametrize("spoiled", [1, 2])
def test_damaged_checkpoints_cost_no_round_and_change_none(
    bench: Bench, how: str, spoiled: int
) -> None:
    config = tiny_config(rounds=5, training__local_steps=1)
    claim = stopped_after(bench, 3, config)
    before = records(bench.store, claim.run_id)
    for name in ("1-2-f3.safetensors", "1-1-f2.safetensors")[:spoiled]:
        spoil(bench.settings.checkpoint_dir / name, how)
    assert bench.work(claim) == Ended(RunStatus.COMPLETED)
    assert records(bench.store, claim.run_id) == uninterrupted(config)
    assert records(bench.store, claim.run_id)[:3] == before
    assert bench.files() == ["1-3-f4.safetensors", "1-4-f4.safetensors"]
    [detail] = told(bench, claim)
    assert detail is not None
    assert "checkpoint 1-2-f3.safetensors" in detail
    goes_on = "goes on from 1-1-f2" if spoiled == 1 else "all rounds are trained again"
    assert goes_on in detail


def test_rounds_trained_again_are_not_stored_again(bench: Bench) -> None:
    claim = stopped_after(bench, 3, tiny_config(rounds=4, training__local_steps=1))
    spoil(bench.settings.checkpoint_dir / "1-2-f3.safetensors", "cut")
    bench.work(claim)
    assert [each for each in bench.heard() if isinstance(each, Stored)] == [Stored(3)]
    with reading(bench.store) as session:
        run = runs.get(session, claim.run_id)
        assert run.sent_bits == sum(r.sent_bits for r in rounds.listed(session, claim.run_id))


def test_a_run_told_to_stop_while_it_recovers_has_a_sound_checkpoint_again(bench: Bench) -> None:
    config = tiny_config(rounds=4, training__local_steps=1)
    claim = stopped_after(bench, 3, config)
    spoil(bench.settings.checkpoint_dir / "1-2-f3.safetensors", "cut")
    bench.ours.send(Order.FINISH_ROUND)
    assert bench.work(claim) == Ended(Outcome.INTERRUPTED)
    assert bench.rounds(claim) == 3
    with writing(bench.store) as session:
        leases.release(session, claim, "")
    heir = bench.claim()
    assert bench.work(heir) == Ended(RunStatus.COMPLETED)
    assert len(told(bench, heir)) == 1  # nothing was left to recover
    assert records(bench.store, heir.run_id) == uninterrupted(config)


def test_a_round_that_comes_out_otherwise_is_told_and_the_stored_one_stays(bench: Bench) -> None:
    run_id = stored_run(bench.store, tiny_config(rounds=3), rounds=1)  # by another engine
    before = records(bench.store, run_id)
    claim = bench.claim()
    assert bench.work(claim) == Ended(RunStatus.COMPLETED)
    assert records(bench.store, run_id)[:1] == before
    assert [detail for detail in told(bench, claim) if detail and "differs" in detail]


def test_as_many_checkpoints_are_kept_as_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHTUNE_KEEP_CHECKPOINTS", "3")
    bench.work(bench.claim(tiny_config(rounds=5, training__local_steps=1)))
    assert bench.files() == [f"1-{index}-f1.safetensors" for index in (2, 3, 4)]


def test_a_full_disk_delays_a_round_and_costs_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(rounds=2, training__local_steps=1)
    claim = bench.claim(config)
    trainer = Trainer(bench.theirs, bench.settings, bench.store, claim)
    waits: list[float] = []
    folder = bench.settings.checkpoint_dir
    folder.mkdir(parents=True)
    in_the_way = folder / "1-0-f1.safetensors.tmp"
    in_the_way.mkdir()  # a file cannot be written there, for root neither

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            in_the_way.rmdir()

    monkeypatch.setattr(trainer_module.time, "sleep", wait)
    assert trainer.work(load()) == Ended(RunStatus.COMPLETED)
    assert len(waits) >= 3
    assert records(bench.store, claim.run_id) == uninterrupted(config)


def test_a_disk_that_stays_full_gives_the_run_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = bench.claim(tiny_config())
    monkeypatch.setattr(trainer_module, "STORE_PATIENCE_S", 0.0)
    monkeypatch.setattr(trainer_module, "STORE_RETRY_S", 0.0)
    bench.settings.checkpoint_dir.write_text("a file where the folder should be", encoding="utf-8")
    ended = bench.work(claim)
    assert ended.outcome is Outcome.STORE_LOST
    assert ended.reason is not None
    assert "nothing stored is lost" in ended.reason


def test_a_run_goes_on_from_a_store_that_is_no_folder(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHTUNE_ARTEFACTS", "memory://trainer/checkpoints")
    config = tiny_config(rounds=4, training__local_steps=1)
    claim = stopped_after(bench, 2, config)
    assert bench.work(claim) == Ended(RunStatus.COMPLETED)
    assert records(bench.store, claim.run_id) == uninterrupted(config)
    assert not bench.settings.checkpoint_dir.exists()
    assert told(bench, claim) == []
    kept = open_artefacts(bench.settings).of_run(claim.run_id)
    assert [file.round_index for file in kept] == [2, 3]
    for file in kept:
        open_artefacts(bench.settings).drop(file.name)


def test_a_state_folder_that_is_gone_is_made_again(bench: Bench, tmp_path: Path) -> None:
    claim = bench.claim(tiny_config())
    elsewhere = bench.settings.model_copy(update={"state_dir": tmp_path / "new"})
    trainer = Trainer(bench.theirs, elsewhere, bench.store, claim)
    assert trainer.work(load()) == Ended(RunStatus.COMPLETED)
