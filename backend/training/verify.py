"""A stored run trained again and compared to the bit; wall-clock time alone may differ."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from meshtune.backend.training.engine import Start
from meshtune.engine.config import RunConfig
from meshtune.engine.errors import NumericsError
from meshtune.engine.records import Provenance, RoundRecord

ABSENT = "nothing"


@dataclass(frozen=True)
class Difference:
    """The first place where two runs part: value by value, as Python writes them."""

    round_index: int
    field: str
    stored: str
    now: str

    def __str__(self) -> str:
        return (
            f"round {self.round_index + 1} differs in {self.field}: "
            f"stored {self.stored}, now {self.now}"
        )


@dataclass(frozen=True)
class Verdict:
    """How many rounds were equal, where they parted, and what differs in the surroundings."""

    rounds_equal: int
    difference: Difference | None
    surroundings: tuple[str, ...]


def verified(
    config: RunConfig,
    stored: Iterable[RoundRecord],
    provenance: Provenance | None,
    start: Start,
    tell: Callable[[int], None] = lambda _equal: None,
) -> Verdict:
    """Train `config` from its first round and compare each round with the stored one.

    Args:
        config: of the run.
        stored: its rounds, oldest first; as many are trained.
        provenance: under which they were made.
        start: the engine, as `meshtune.backend.training.engine.load_engine` gives it.
        tell: called with the number of rounds found equal so far.
    """
    training = start(config, None)
    surroundings = tuple(changes(provenance, training.provenance))
    again = (finished.record for finished in training.rounds(lambda _share: None))
    equal = 0
    for before in stored:
        found = _next_difference(before, again)
        if found is not None:
            return Verdict(equal, found, surroundings)
        equal += 1
        tell(equal)
    return Verdict(equal, None, surroundings)


def changes(before: Provenance | None, now: Provenance) -> Iterator[str]:
    """What differs between two surroundings, a phrase each."""
    if before is None:
        yield "the run does not say under which versions it was trained"
        return
    for name in Provenance.model_fields:
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            yield f"{name}: stored {_plain(old)}, now {_plain(new)}"


def first_difference(stored: RoundRecord, now: RoundRecord) -> Difference | None:
    """The first field, in the order of records, whose values are not the same to the bit."""
    told, again = (record.model_dump(exclude={"wall_s"}) for record in (stored, now))
    for field, before, after in _parted("", told, again):
        return Difference(stored.round_index, field, before, after)
    return None


def _next_difference(stored: RoundRecord, again: Iterator[RoundRecord]) -> Difference | None:
    try:
        now = next(again, None)
    except NumericsError as error:
        return Difference(stored.round_index, "outcome", "a finished round", str(error))
    if now is None:
        return Difference(stored.round_index, "outcome", "a finished round", ABSENT)
    return first_difference(stored, now)


def _parted(path: str, before: Any, now: Any) -> Iterator[tuple[str, str, str]]:
    """Places below `path` where two trees of plain values part."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            inside = f"{path}.{name}" if path else str(name)
            yield from _parted(inside, before.get(name, ABSENT), now.get(name, ABSENT))
    elif isinstance(before, list | tuple) and isinstance(now, list | tuple):
        for place in range(max(len(before), len(now))):
            sides = (side[place] if place < len(side) else ABSENT for side in (before, now))
            yield from _parted(f"{path}[{place}]", *sides)
    elif repr(before) != repr(now):  # unlike ==, it tells -0.0 from 0.0 and knows NaN
        yield path, _plain(before), _plain(now)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
