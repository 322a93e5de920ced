"""`python -m tests.load`: measure how the store and the API bear load; the numbers are printed."""

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence

from tests.load import busy, lists, readers, storing

PARTS = ("busy", "lists", "storing", "readers")
KINDS = ("sqlite", "postgresql")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts asked for on each database."""
    parser = argparse.ArgumentParser(prog="tests.load", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument("--database", action="append", choices=KINDS, help="default: both")
    parser.add_argument("--runs", type=int, default=1000, help="in the store of lists")
    parser.add_argument("--rounds", type=int, default=500, help="of each of them")
    parser.add_argument("--reports", type=int, default=200, help="callers that want a report")
    parser.add_argument("--seconds", type=float, default=20.0, help="for which they ask")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two questions")
    parser.add_argument("--pairs", type=int, default=4, help="of phases without and with readers")
    parser.add_argument("--phase", type=int, default=15, help="rounds in a phase")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    parser.add_argument("--nice", type=int, default=0, help="how much the API stands back")
    parser.add_argument("--play", action="store_true", help="also train one large round")
    asked = parser.parse_args(argv)
    say(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for kind in asked.database or KINDS:
        for part in asked.part or PARTS:
            say(f"\n{part} on {kind}")
            for line in _SHOW[part](kind, asked):
                say(f"  {line}")


def say(line: str) -> None:
    """Show a line as soon as it is known."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _lists(kind: str, asked: argparse.Namespace) -> Iterator[str]:
    found = lists.measure(kind, runs=asked.runs, rounds=asked.rounds)
    size = f"{found.runs} runs x {found.rounds} rounds: {found.megabytes:.0f} MB"
    yield f"{size}, built in {found.built_s:.1f} s"
    for question, (times, answered_bytes) in found.answers.items():
        yield f"{question:36} {times}   {answered_bytes / 1e3:7.1f} kB"


def _storing(kind: str, asked: argparse.Namespace) -> Iterator[str]:
    found = storing.measure(kind, play=asked.play)
    size = f"{found.devices} devices, {found.scores} scores, {found.links} links"
    yield f"{size}, {found.kilobytes:.0f} kB: {found.times}"
    if found.round_s is not None:
        share = found.times.quantile(0.5) / 1000 / found.round_s
        yield f"a trained round takes {found.round_s:.1f} s: storing is {share:.2%} of it"


def _readers(kind: str, asked: argparse.Namespace) -> Iterator[str]:
    load = readers.Load(asked.readers, asked.streams, asked.every)
    how = readers.Measurement(asked.pairs, asked.phase, asked.threads, asked.nice)
    found = readers.measure(kind, load, how)
    yield f"{load.readers} readers, one question each per {load.every_s:g} s: {found.times}"
    heard = found.heard
    yield f"{len(heard.answer_ms)} answers, {heard.failures} failed, {heard.events} live events"
    for alone, read in zip(found.alone_s, found.read_s, strict=True):
        yield f"a round: {alone:.3f} s alone, {read:.3f} s with readers"
    yield f"training is slowed by {found.slowdown:.1%} (median over pairs)"


def _busy(kind: str, asked: argparse.Namespace) -> Iterator[str]:
    found = busy.measure(kind, callers=asked.reports, seconds=asked.seconds)
    yield f"one report of {busy.COMPARED} runs, nothing else: {found.report} (target 3 s)"
    yield f"GET /runs, nothing else:             {found.calm}"
    for manner, beside in found.beside.items():
        yield f"GET /runs, {asked.reports} want reports, {manner}: {beside.times} (target p95 1 s)"
        told = f"{beside.made} reports made, {beside.refused} refused, {beside.failed} failed"
        yield f"  {told}; GET /runs failed {beside.lost} times"
    for which, posted in found.posted.items():
        rate = f"{posted.per_s:.1f} per second, {posted.failed} failed"
        yield f"POST /runs, {busy.POSTING} at once, {which}: {posted.times} (target p95 1 s)"
        yield f"  {rate}"


_SHOW = {"busy": _busy, "lists": _lists, "storing": _storing, "readers": _readers}

if __name__ == "__main__":
    main()
