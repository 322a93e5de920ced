"""Names that people read: what is not there to be seen is no name."""

import unicodedata

# Letters and symbols by their category that draw nothing: fillers of Hangul, and Braille blank.
BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
# Of characters that are not assigned those are invisible; others are new ones, emoji above all.
UNASSIGNED_INVISIBLE = range(0xE0000, 0xF0000)


def name_problem(name: str) -> str | None:
    """Why this cannot be the name of a run, in one sentence; None if something of it is seen."""
    if any(map(_seen, name)):
        return None
    return "holds invisible characters only; give it a letter or a digit"


def _seen(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cn":
        return ord(character) not in UNASSIGNED_INVISIBLE
    # Letters, numbers, punctuation, symbols and what is private; a mark alone has nothing to mark.
    return (category[0] in "LNPS" or category == "Co") and character not in BLANKS
