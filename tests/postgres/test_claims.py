"""Many workers at one queue: every run is claimed, and none is claimed twice."""

import json
import subprocess
import sys
from collections import Counter

import pytest
from sqlalchemy import Engine

from meshtune.db import runs
from meshtune.db.session import reading, writing
from tests.support.builders import tiny_config

RUNS = 200
CLAIM_ALL = """
import json
import sys
from meshtune.db import leases, runs
from meshtune.db.session import open_engine, reading, writing

store, worker = open_engine(sys.argv[1]), sys.argv[2]
with reading(store) as session:
    assert leases.work_waits(session)
print("ready", flush=True)
sys.stdin.readline()
mine = []
while True:
    with writing(store) as session:
        claim = leases.claim_next(session, worker, lease_s=60.0)
    if claim is None:
        break
    mine.append((claim.run_id, claim.fence))
print(json.dumps(mine))
"""


def start(url: str, worker: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CLAIM_ALL, url, worker]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.mark.parametrize("workers", [2, 4])
def test_no_run_is_claimed_twice_and_none_is_forgotten(
    store: Engine, url: str, workers: int
) -> None:
    with writing(store) as session:
        ids = [runs.create(session, tiny_config(seed=seed)).id for seed in range(RUNS)]
    processes = [start(url, f"worker {number}") for number in range(workers)]
    try:
        assert [heard(process) for process in processes] == ["ready\n"] * workers
        for process in processes:
            go(process)
        claimed = [json.loads(heard(process)) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert Counter(run_id for mine in claimed for run_id, _ in mine) == dict.fromkeys(ids, 1)
    assert all(fence == 1 for mine in claimed for _, fence in mine)
    assert all(claimed), "a worker that got nothing raced with nobody"
    with reading(store) as session:
        owners = {run.id: run.owner for run in runs.listed(session, limit=RUNS)}
        for number, mine in enumerate(claimed):
            assert all(owners[run_id] == f"worker {number}" for run_id, _ in mine)
        for run_id in ids:
            assert [event.kind for event in runs.events(session, run_id)] == ["created", "running"]
