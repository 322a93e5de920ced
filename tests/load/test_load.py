"""That the measurements measure: small ones, with bounds that only a disaster passes."""

import asyncio
from pathlib import Path

import pytest

from meshtune.db import rounds, runs
from meshtune.db.session import reading
from tests.load import busy, lists, readers, storing
from tests.load.stores import Times, fill, fresh_settings, opened, served
from tests.support.builders import tiny_config
from tests.support.loops import in_own_loop

DISASTER_MS = 5_000.0

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="starts services")


def test_a_quantile_is_a_time_that_its_share_did_not_exceed() -> None:
    times = Times([float(value) for value in range(100, 0, -1)])
    assert (times.quantile(0.0), times.quantile(0.95), times.quantile(1.0)) == (1.0, 96.0, 100.0)


def test_copies_of_a_run_are_whole_runs_of_their_own() -> None:
    with fresh_settings("sqlite") as settings, opened(settings) as store:
        ids = fill(store, tiny_config(rounds=4), 7)
        with reading(store) as session:
            found = [runs.get(session, run_id) for run_id in ids]
            records = [rounds.listed(session, run_id) for run_id in ids]
    assert len({run.id for run in found}) == len({run.name for run in found}) == 7
    assert {run.config_sha256 for run in found} == {found[0].config_sha256}
    assert len(records[0]) == 4
    assert all(each == records[0] for each in records)


def test_reports_are_refused_and_cheap_answers_are_not() -> None:
    found = busy.measure("sqlite", callers=20, seconds=1.0, rounds=20, reports=1, posts=1)
    assert len(found.report.each_ms) == 1
    for beside in found.beside.values():
        assert (beside.lost, beside.failed) == (0, 0)
        assert beside.refused > 0
        assert beside.times.quantile(0.5) < DISASTER_MS
    for posted in found.posted.values():
        assert (len(posted.times.each_ms), posted.failed) == (busy.POSTING, 0)


def test_every_question_is_answered_in_time() -> None:
    found = lists.measure("sqlite", runs=12, rounds=20, repeats=3)
    assert len(found.answers) == 15
    for question, (times, answered_bytes) in found.answers.items():
        assert times.quantile(0.5) < DISASTER_MS, question
        assert answered_bytes > 0
    small, large = found.answers["list, newest 50"], found.answers["list, by status that none has"]
    assert small[1] > large[1]


def test_storing_a_large_round_is_timed() -> None:
    found = storing.measure("sqlite", rounds=5)
    assert (found.devices, found.scores, found.links) == (64, 512, 256)
    assert len(found.times.each_ms) == 5
    assert found.times.quantile(0.5) < DISASTER_MS


def test_readers_and_streams_are_all_served() -> None:
    load = readers.Load(readers=20, streams=5, every_s=0.5, whole_share=0.2)
    heard = readers.Heard()

    async def read_along(address: str, run_id: int) -> None:
        async with readers.reading_along(address, run_id, load, heard):
            await asyncio.sleep(2.0)

    with fresh_settings("sqlite") as settings, opened(settings) as store:
        (run_id,) = fill(store, tiny_config(rounds=30), 1)
        with served(settings) as address:
            in_own_loop(read_along(address, run_id))
    assert heard.failures == 0
    assert len(heard.answer_ms) >= load.readers
    assert Times(heard.answer_ms).quantile(0.5) < DISASTER_MS
    assert len(heard.streams) == load.streams
    assert heard.events >= load.streams * 30
