"""What goes on air, counted without training: bits and adapter values per link and hop (M11).

A run and its plan count with the same code: nothing here knows a tensor, and nothing a method.
"""

from meshtune.engine.ledger.accounts import Introduced, Steady
from meshtune.engine.ledger.bits import (
    SCALE_BITS,
    SEED_BITS,
    PlacesCode,
    Shapes,
    places_bits,
    value_cost_bits,
)
from meshtune.engine.ledger.library import (
    KNOWN,
    NOTHING,
    OFFER_BITS,
    OLD_MASK,
    STRANGER,
    Library,
    Pulls,
    copied,
    empty_library,
    is_published,
    published,
    pulls,
    with_new_masks,
)
from meshtune.engine.ledger.messages import Accounts, Messages, OneHop, on_links, silence

__all__ = [
    "KNOWN",
    "NOTHING",
    "OFFER_BITS",
    "OLD_MASK",
    "SCALE_BITS",
    "SEED_BITS",
    "STRANGER",
    "Accounts",
    "Introduced",
    "Library",
    "Messages",
    "OneHop",
    "PlacesCode",
    "Pulls",
    "Shapes",
    "Steady",
    "copied",
    "empty_library",
    "is_published",
    "on_links",
    "places_bits",
    "published",
    "pulls",
    "silence",
    "value_cost_bits",
    "with_new_masks",
]
