"""The pretraining corpus of Alike: the skills of its tasks, and requests without answers.

Facts are followed by what they tell in words that no request has. A request is followed by the same
request in other words, which teaches what it asks for; then the document ends.
"""

from collections.abc import Callable, Iterator

import numpy as np

from meshtune.engine.tasks.alike import (
    ANSWERS,
    COLOURS,
    COUNTS,
    FRAMES,
    NAMES,
    PLAIN_FRAMES,
    REQUESTS,
    THINGS,
    draw_facts,
)
from meshtune.engine.tasks.base import pick, pick_distinct

# Pieces of text in turn: a lead, what follows from it, another lead and so on. Each begins with a
# word, and a space is between them.
Document = tuple[str, ...]
Writer = Callable[[np.random.Generator], Document]

KINDS = tuple(REQUESTS)
SAYINGS: dict[str, tuple[str, ...]] = {
    "total": ("Together they own", "In all there are", "One counts", "Put together it makes"),
    "gap": ("They differ by", "One of them leads by", "They are apart by", "One is ahead by"),
    "bigger": ("At most there are", "The most is", "Nobody has more than", "Up to"),
    "smaller": ("At least there are", "The least is", "Nobody has less than", "Down to"),
    "first_colour": ("It begins in", "The list opens in", "On the left one sees", "Before all is"),
    "last_colour": ("It closes in", "The list stops in", "On the right one sees", "After all is"),
    "first_things": ("It begins with", "The list opens with", "On the left lie", "Before all are"),
    "last_things": ("It closes with", "The list stops with", "On the right lie", "After all are"),
}
# Said in the later documents: ends of one kind only would hide the skill from an adapter.
LATER_SAYINGS = SAYINGS | {
    "gap": (
        "They differ by",
        "One of them leads by",
        "The lead is",
        "One less the other leaves",
        "Up from one to the other are",
        "Taken apart it makes",
    )
}
SUBJECTS = {
    "total": "Adding",
    "gap": "Comparing",
    "bigger": "Maximum",
    "smaller": "Minimum",
    "first_colour": "Opening colour",
    "last_colour": "Closing colour",
    "first_things": "Opening goods",
    "last_things": "Closing goods",
}
WISHES = ("So it is about", "The wish is", "In other words", "It is about")
PLACES = ("park", "school", "shop", "garden", "kitchen", "street", "river", "beach", "forest")
VERBS = ("finds", "sees", "takes", "brings", "wants", "likes", "loses", "paints", "sells", "buys")
TOLD_FIRST = 0.6  # of the requests
READ_AS_SUBJECT = 0.4
BOTH_READ = 0.3
PLAIN = 0.15  # of the requests decline nothing


def write_statements(
    rng: np.random.Generator, sayings: dict[str, tuple[str, ...]] = SAYINGS
) -> Document:
    """Facts and what they tell."""
    facts = draw_facts(rng)
    pieces = [facts.told()]
    for kind in pick_distinct(rng, KINDS, int(rng.integers(3, 7))):
        pieces[-1] += f" {pick(rng, sayings[kind])}"
        pieces += [f"{ANSWERS[kind](facts)}.", ""]
    return _joined(pieces)


def write_retelling(rng: np.random.Generator) -> Document:
    """Facts of two to four people, told again in another order."""
    facts = draw_facts(rng, int(rng.integers(2, 5)))
    rows = list(zip(facts.names, facts.counts, facts.colours, facts.things, strict=True))
    pieces = [facts.told()]
    for name, count, colour, thing in pick_distinct(rng, tuple(rows), len(rows)):
        whole = (f"{name} owns", f"{count} {colour} {thing}.")
        start, end = pick(rng, (whole, whole, (f"The {thing} of {name} are", f"{colour}.")))
        pieces[-1] += f" {start}"
        pieces += [end, ""]
    return _joined(pieces)


def write_echo(rng: np.random.Generator) -> Document:
    """Words said twice: teaches copying, on which all looking up is built."""
    known = (*NAMES, *COLOURS, *THINGS, *map(str, COUNTS))
    words = pick_distinct(rng, known, int(rng.integers(6, 13)))
    again = pick(rng, ("Again", "Once more", "Then"))
    return f"They say {' '.join(words)}. {again} {words[0]}", f"{' '.join(words[1:])}."


def write_request(rng: np.random.Generator) -> Document:
    """A request, and what it asks for in other words; the facts before it change nothing."""
    asked, declined = pick_distinct(rng, KINDS, 2)
    # Two different wordings each: one in the request, one in its reading.
    first, again = pick_distinct(rng, REQUESTS[asked], 2)
    other, other_again = pick_distinct(rng, REQUESTS[declined], 2)
    plain = rng.random() < PLAIN
    request = pick(rng, PLAIN_FRAMES if plain else FRAMES).format(asked=first, declined=other)
    told = f"{draw_facts(rng).told()} " if rng.random() < TOLD_FIRST else ""
    if rng.random() < READ_AS_SUBJECT:
        return f"{told}{request}", f"{SUBJECTS[asked]} is wanted."
    pieces = (f"{told}{request} {pick(rng, WISHES)}", f"{again}.")
    if plain or rng.random() >= BOTH_READ:
        return pieces
    return (*pieces, "It is not about", f"{other_again}.")


def write_sum(rng: np.random.Generator) -> Document:
    """What two numbers make, and how far apart they are."""
    one, other = pick_distinct(rng, COUNTS, 2)
    high, low = max(one, other), min(one, other)
    return (
        f"{one} and {other} make", f"{one + other}.", f"{high} less {low} leaves", f"{high - low}."
    )  # fmt: skip


def write_story(rng: np.random.Generator) -> Document:
    """A little more English."""
    one, other = pick_distinct(rng, NAMES, 2)
    place, verb = pick(rng, PLACES), pick(rng, VERBS)
    colour, thing, count = pick(rng, COLOURS), pick(rng, THINGS), int(rng.integers(2, 18))
    return (
        pick(
            rng,
            (
                f"{one} goes to the {place}. There {one} {verb} the {colour} {thing}.",
                f"{one} and {other} are in the {place}. {other} {verb} {colour} {thing}.",
                f"The {place} is nice, says {one}. Both go home.",
                f"{one} {verb} {count} {thing} in the {place}.",
            ),
        ),
    )


WEIGHTS: dict[Writer, int] = {
    write_statements: 34,
    write_retelling: 10,
    write_echo: 12,
    write_request: 38,
    write_sum: 3,
    write_story: 3,
}


def write_later_statements(rng: np.random.Generator) -> Document:
    """Facts and what they tell, in more ways."""
    return write_statements(rng, LATER_SAYINGS)


def documents(seed: int, *, later: bool = False) -> Iterator[Document]:
    """Endless documents, the same for the same seed; the later ones say more in different ways."""
    rng = np.random.default_rng(seed)
    writers = [*WEIGHTS]
    if later:
        writers[writers.index(write_statements)] = write_later_statements
    shares = np.array(list(WEIGHTS.values())) / sum(WEIGHTS.values())
    while True:
        for index in rng.choice(len(writers), size=1024, p=shares):
            yield writers[index](rng)


def _joined(pieces: list[str]) -> Document:
    """The pieces without spaces at their ends, and without an empty last one."""
    return tuple(piece.strip() for piece in pieces if piece)
