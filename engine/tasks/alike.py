"""Alike: eight requests about two facts, told apart by the order of words alone.

    Leo has 3 pink books, Ben has 7 white coats. Skip the bigger number and name the last colour.

A prompt holds two requests, one of them declined. Both begin with the same word and either may
come first, so that single words and pairs of words say which two are meant, but not which one is
asked: a coin is the best they can do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from meshtune.engine.tasks.base import Sample, pick, pick_distinct

NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Frank", "Greta", "Hugo", "Ida", "Jonas", "Kira",
    "Leo", "Mia", "Noah", "Olga", "Paul",
)  # fmt: skip
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "pink")
THINGS = (
    "cups", "hats", "balls", "books", "shoes", "bags", "cars", "dolls", "boats", "lamps", "pens",
    "keys", "coats", "kites", "drums", "chairs",
)  # fmt: skip
COUNTS = tuple(range(2, 10))

# All begin with one word, so that what stands before a request never touches what it is about.
REQUESTS: dict[str, tuple[str, ...]] = {
    "total": (
        "the sum of both numbers",
        "the total of both numbers",
        "the two numbers added up",
        "the number of all things",
    ),
    "gap": (
        "the gap between both numbers",
        "the difference of both numbers",
        "the distance between the numbers",
        "the gap from one number to the other",
    ),
    "bigger": (
        "the bigger number",
        "the larger of both numbers",
        "the number that is higher",
        "the bigger one of the numbers",
    ),
    "smaller": (
        "the smaller number",
        "the lesser of both numbers",
        "the number that is lower",
        "the smaller one of the numbers",
    ),
    "first_colour": (
        "the first colour",
        "the colour named first",
        "the colour of the first things",
        "the colour at the start",
    ),
    "last_colour": (
        "the last colour",
        "the colour named last",
        "the colour of the last things",
        "the colour at the end",
    ),
    "first_things": (
        "the first things",
        "the things named first",
        "the first kind of things",
        "the things at the start",
    ),
    "last_things": (
        "the last things",
        "the things named last",
        "the last kind of things",
        "the things at the end",
    ),
}
# Half of them ask first, and every mark behind a request is as frequent behind a declined one.
FRAMES = (
    "Say {asked}, not {declined}.",
    "Tell me {asked} but not {declined}.",
    "I want {asked}, I know {declined}.",
    "Name {asked} and skip {declined}, please.",
    "Do not say {declined}, say {asked}.",
    "Not {declined} but {asked}, please.",
    "I know {declined}, I want {asked}.",
    "Skip {declined} and name {asked}.",
)
PLAIN_FRAMES = ("Say {asked}.", "Tell me {asked}.", "I want {asked}.", "Name {asked}, please.")


@dataclass(frozen=True)
class Facts:
    """What two people have: each entry is that of the first and of the last one."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    colours: tuple[str, ...]
    things: tuple[str, ...]

    def told(self) -> str:
        """The facts as a sentence."""
        rows = zip(self.names, self.counts, self.colours, self.things, strict=True)
        told = ", ".join(f"{name} has {n} {colour} {thing}" for name, n, colour, thing in rows)
        return f"{told}."


ANSWERS: dict[str, Callable[[Facts], str | int]] = {
    "total": lambda facts: sum(facts.counts),
    "gap": lambda facts: max(facts.counts) - min(facts.counts),
    "bigger": lambda facts: max(facts.counts),
    "smaller": lambda facts: min(facts.counts),
    "first_colour": lambda facts: facts.colours[0],
    "last_colour": lambda facts: facts.colours[-1],
    "first_things": lambda facts: facts.things[0],
    "last_things": lambda facts: facts.things[-1],
}


def draw_facts(rng: np.random.Generator, people: int = 2) -> Facts:
    """Facts that share no name, number, colour or thing."""
    return Facts(
        names=pick_distinct(rng, NAMES, people),
        counts=pick_distinct(rng, COUNTS, people),
        colours=pick_distinct(rng, COLOURS, people),
        things=pick_distinct(rng, THINGS, people),
    )


def draw_pair(rng: np.random.Generator, asked: str) -> tuple[str, str]:
    """A request of one kind that is asked, and one of another kind that is declined."""
    other = pick(rng, tuple(kind for kind in REQUESTS if kind != asked))
    return pick(rng, REQUESTS[asked]), pick(rng, REQUESTS[other])


def draw(asked: str, rng: np.random.Generator, declined: float = 1.0) -> Sample:
    """Facts and a request of one kind; a share `declined` of the prompts declines another one."""
    facts = draw_facts(rng)
    wanted, unwanted = draw_pair(rng, asked)
    frames = FRAMES if rng.random() < declined else PLAIN_FRAMES
    request = pick(rng, frames).format(asked=wanted, declined=unwanted)
    return Sample(f"{facts.told()} {request}", str(ANSWERS[asked](facts)))


draw_total = partial(draw, "total")
draw_gap = partial(draw, "gap")
draw_bigger = partial(draw, "bigger")
draw_smaller = partial(draw, "smaller")
draw_first_colour = partial(draw, "first_colour")
draw_last_colour = partial(draw, "last_colour")
draw_first_things = partial(draw, "first_things")
draw_last_things = partial(draw, "last_things")
