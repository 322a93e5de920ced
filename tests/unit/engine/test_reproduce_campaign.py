"""Campaigns: complete, resumable, in the files of a folder; on a faked engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meshtune.engine.config import RunConfig, config_hash
from meshtune.engine.errors import NumericsError
from meshtune.engine.records import RoundRecord
from meshtune.engine.reproduce import campaign
from meshtune.engine.reproduce.arms import (
    ARMS,
    BASE,
    SWEEP_SEED,
    ArmNotFound,
    arm_config,
    arm_named,
    base_config,
    chosen_arms,
)
from meshtune.engine.reproduce.campaign import (
    Job,
    comparison_jobs,
    finished_jobs,
    play_run,
    sweep_jobs,
)
from meshtune.engine.reproduce.results import (
    FILE_NAME,
    by_arm,
    load_results,
    median_message_bits,
    milestones,
    store_result,
)
from meshtune.engine.simulate import Check, simulate
from meshtune.engine.world import State, World, build_world, initial_state
from tests.support.builders import sample_record, tiny_config
from tests.support.campaigns import FakePlay, run_result

TWO = chosen_arms(["lora", "local"], quick=False)


def test_the_base_has_eight_tasks_on_at_least_ten_devices() -> None:
    for quick in (False, True):
        base = base_config({}, quick=quick)
        assert base.fleet.devices >= 10
        assert len(base.fleet.present_tasks()) == 8


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_every_arm_is_a_valid_config_that_changes_what_it_says(arm) -> None:
    config = arm_config(BASE, arm, 3)
    assert (config.name, config.seed) == (arm.name, 3)
    assert config.rounds == BASE.rounds * arm.rounds_factor
    assert config.fleet == BASE.fleet
    # Only what cannot arrive at all may have more time.
    same_time = {"deadline_s": BASE.channel.deadline_s}
    assert config.channel.model_copy(update=same_time) == BASE.channel
    assert config.training.learning_rate in arm.learning_rates
    assert arm.ablation_of is None or arm_named(arm.ablation_of)


def test_no_two_arms_are_the_same_experiment() -> None:
    hashes = {
        config_hash(arm_config(BASE, arm, 0).model_copy(update={"name": "same"})) for arm in ARMS
    }
    assert len(hashes) == len({arm.name for arm in ARMS}) == len(ARMS)


def test_devices_stand_in_the_same_disc_in_every_arm() -> None:
    radii = {getattr(arm_config(BASE, arm, 0).topology, "radius_m", None) for arm in ARMS}
    assert radii == {BASE.topology.radius_m}


def test_an_unknown_arm_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ArmNotFound, match=r"'lara'.*so_lora"):
        chosen_arms(["lora", "lara"], quick=False)


def test_quick_is_a_part_of_the_whole() -> None:
    quick = chosen_arms(None, quick=True)
    names = {arm.name for arm in quick}
    assert names < {arm.name for arm in chosen_arms(None, quick=False)}
    assert {"lora", "so_lora", "no_gate"} <= names


def test_every_seed_runs_every_arm_seed_by_seed() -> None:
    jobs = comparison_jobs(TWO, BASE, 2)
    assert [(job.arm.name, job.config.seed) for job in jobs] == [
        ("lora", 0), ("local", 0), ("lora", 1), ("local", 1),
    ]  # fmt: skip


def test_a_sweep_tries_every_rate_on_a_seed_of_its_own() -> None:
    jobs = sweep_jobs(TWO, BASE)
    assert {job.config.seed for job in jobs} == {SWEEP_SEED}
    assert [job.config.training.learning_rate for job in jobs] == [
        *TWO[0].learning_rates, *TWO[1].learning_rates,
    ]  # fmt: skip


def test_a_second_call_computes_nothing(tmp_path: Path) -> None:
    jobs = comparison_jobs(TWO, BASE, 2)
    first, second = FakePlay(), FakePlay()
    found = finished_jobs(jobs, tmp_path / "new", first)
    assert len(first.played) == 4
    assert finished_jobs(jobs, tmp_path / "new", second) == found
    assert second.played == []


def test_after_a_stop_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    jobs = comparison_jobs(TWO, BASE, 2)
    with pytest.raises(KeyboardInterrupt):
        finished_jobs(jobs, tmp_path, FakePlay(stop_after=3))
    rest = FakePlay()
    found = finished_jobs(jobs, tmp_path, rest)
    assert rest.played == [("local", 1)]
    assert [(run.arm, run.seed) for run in found] == [
        (job.arm.name, job.config.seed) for job in jobs
    ]


def test_a_result_of_another_config_does_not_count(tmp_path: Path) -> None:
    finished_jobs(comparison_jobs(TWO, BASE, 1), tmp_path, FakePlay())
    changed = base_config({"rounds": 7}, quick=False)
    again = FakePlay()
    finished_jobs(comparison_jobs(TWO, changed, 1), tmp_path, again)
    assert len(again.played) == 2
    assert len(load_results(tmp_path)) == 4
    back = FakePlay()
    finished_jobs(comparison_jobs(TWO, BASE, 1), tmp_path, back)
    assert back.played == []


def test_a_line_that_was_cut_short_is_computed_again(tmp_path: Path) -> None:
    jobs = comparison_jobs(TWO, BASE, 1)
    whole = finished_jobs(jobs, tmp_path, FakePlay())
    file = tmp_path / FILE_NAME
    file.write_bytes(file.read_bytes()[:-40])
    again = FakePlay()
    assert finished_jobs(jobs, tmp_path, again) == whole
    assert again.played == [("local", 0)]
    assert load_results(tmp_path) == whole


def test_stored_results_come_back_as_they_were(tmp_path: Path) -> None:
    result = run_result("lora", 1, [(0, 0.1), (10, 0.123456789)], losses=[0.3])
    store_result(tmp_path, result)
    assert load_results(tmp_path) == [result]
    assert by_arm([result]) == {"lora": {1: result}}


def test_a_watcher_hears_of_every_run_and_its_parts(tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []
    jobs = comparison_jobs(TWO, BASE, 1)

    def watch(job: Job, done: float) -> None:
        heard.append((job.arm.name, done))

    finished_jobs(jobs, tmp_path, FakePlay(), watch)
    assert heard == [("lora", 0.0), ("lora", 0.5), ("local", 1.0), ("local", 1.5)]


def test_milestones_add_up_costs_over_rounds_without_evaluation() -> None:
    config: RunConfig = tiny_config(rounds=3)
    blank = {"accuracy_own": None, "accuracy_all": None, "scores": ()}
    records = [
        sample_record(config, 0, sent_bits=10, airtime_s=1.0, energy_j=2.0),
        sample_record(config, 1, sent_bits=20, airtime_s=1.0, energy_j=2.0, **blank),
        sample_record(config, 2, sent_bits=30, airtime_s=1.0, energy_j=2.0),
    ]
    found = milestones(records, {"addition": 0.2, "reading": 0.4})
    assert [point.rounds_done for point in found] == [0, 1, 3]
    assert [point.bits for point in found] == [0, 10, 60]
    assert [point.airtime_s for point in found] == [0.0, 1.0, 3.0]
    assert [point.energy_j for point in found] == [0.0, 2.0, 6.0]
    assert found[0].accuracy_all == pytest.approx(0.3)
    assert found[2].accuracy == {task: pytest.approx(0.123456789) for task in found[0].accuracy}
    assert found[2].extra == records[2].extra


def test_the_median_message_is_not_moved_by_rare_copies() -> None:
    config = tiny_config()
    record = sample_record(config, 0)
    copies = [link.model_copy(update={"payload_bits": 90_000}) for link in record.links[:1]]
    rare = record.model_copy(update={"links": tuple(copies)})
    assert median_message_bits([record, record, rare]) == 1000
    assert median_message_bits([]) == 0.0


def test_a_real_run_is_remembered_by_what_its_records_say() -> None:
    config = tiny_config(name="lora", evaluation__every_rounds=2, rounds=3)
    world = build_world(config)
    records = [record for _, record in simulate(world, initial_state(world))]
    shares: list[float] = []
    found = play_run(config, shares.append)
    assert (found.arm, found.seed, found.rounds, found.diverged) == ("lora", 0, 3, False)
    assert found.config_hash == config_hash(config)
    assert [point.rounds_done for point in found.milestones] == [0, 2, 3]
    assert found.accuracy == records[-1].accuracy_all
    assert found.bits == sum(record.sent_bits for record in records)
    assert found.airtime_s == pytest.approx(sum(record.airtime_s for record in records))
    assert found.energy_j == pytest.approx(sum(record.energy_j for record in records))
    # Both factors, in one message per link and round, 16 bits a value.
    assert found.trained_values == 44_032 + 52_224
    assert found.message_bits == 16 * found.trained_values
    assert shares == sorted(shares)
    assert 0.0 <= shares[0] < shares[-1] <= 1.0


def test_a_run_that_diverges_keeps_its_finite_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_rounds(world: World, state: State, check: Check) -> Iterator[tuple[State, RoundRecord]]:
        for done, found in enumerate(simulate(world, state, check)):
            if done == 2:
                raise NumericsError(2, [0])
            yield found

    monkeypatch.setattr(campaign, "simulate", two_rounds)
    found = play_run(tiny_config(rounds=4), lambda _: None)
    assert found.diverged
    assert (found.rounds, found.accuracy) == (2, 0.0)
    assert len(found.milestones) == 3
    assert found.bits == found.milestones[-1].bits > 0


def test_a_diverged_run_answers_nothing_right() -> None:
    lost = run_result("lora", 0, [(0, 0.1), (10, 0.6)], diverged=True)
    assert lost.accuracy == 0.0
    assert set(lost.task_accuracy.values()) == {0.0}
