"""How long lists, curves and comparisons take in a store of many runs."""

import time
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx

from tests.load.stores import Times, fill, fresh_settings, opened, served, size_mb
from tests.support.builders import tiny_config

COMPARED = 20
CANDIDATES = 500
REPEATS = 30


@dataclass(frozen=True)
class Lists:
    """The size of the store, what it took to build, and what each question took."""

    runs: int
    rounds: int
    megabytes: float
    built_s: float
    answers: dict[str, tuple[Times, int]]  # by question; times and bytes of the answer


def questions(ids: list[int], rounds: int) -> dict[str, str]:
    """Addresses by what they ask, over the runs with these numbers."""
    middle = ids[len(ids) // 2]
    compared = ids[:: max(1, len(ids) // COMPARED)][:COMPARED]
    numbers = [("run", each) for each in compared]
    every = max(1, rounds // 100)
    return {
        "list, newest 50": "/runs?limit=50",
        "list, newest 500": "/runs?limit=500",
        "list, by status, middle page": f"/runs?status=completed&before={middle}&limit=50",
        "list, by status that none has": "/runs?status=failed",
        "list, by text that one has": f"/runs?text=load+{len(ids) // 2}",
        "list, by text that none has": "/runs?text=nothing+like+it",
        "run": f"/runs/{middle}",
        "rounds, all totals": f"/runs/{middle}/rounds?limit=500&detail=summary",
        f"rounds, every {every}th": f"/runs/{middle}/rounds?every={every}&detail=summary",
        "rounds, 200 with scores": f"/runs/{middle}/rounds?limit=200&detail=scores",
        "rounds, the last one, full": f"/runs/{middle}/rounds?after={rounds - 2}&detail=full",
        f"candidates, newest {CANDIDATES}": f"/compare/candidates?limit={CANDIDATES}",
        f"study, {len(compared)} runs": f"/compare/study?{urlencode(numbers)}",
        f"paired, {len(compared)} runs": f"/compare/paired?{urlencode(numbers)}",
        "counts": "/health",
    }


def measure(kind: str, *, runs: int, rounds: int, repeats: int = REPEATS) -> Lists:
    """Build the store, start the API, ask each question so many times."""
    # Three devices, two tasks, six links: about 2 kB of JSON a round.
    config = tiny_config(rounds=rounds, fleet__devices=3)
    with fresh_settings(kind) as settings, opened(settings) as store:
        started = time.perf_counter()
        ids = fill(store, config, runs)
        built_s = time.perf_counter() - started
        with served(settings) as address, httpx.Client(base_url=address, timeout=60.0) as client:
            answers = {
                what: _timed(client, path, repeats) for what, path in questions(ids, rounds).items()
            }
        return Lists(runs, rounds, size_mb(store), built_s, answers)


def _timed(client: httpx.Client, path: str, repeats: int) -> tuple[Times, int]:
    times = []
    answer = client.get(path)
    for _ in range(repeats):
        started = time.perf_counter()
        answer = client.get(path).raise_for_status()
        times.append(1000 * (time.perf_counter() - started))
    return Times(times), len(answer.content)
