"""What goes on air, counted without training: bits and adapter values per link and hop (M11).

A run and its plan count with the same code: the method of sparse experts keeps its `Books` here,
and `accounts` predicts from the config alone what every method will send, given who heard whom.
Nothing here knows a tensor.
"""

from meshtune.engine.ledger.accounts import accounts, library_slots
from meshtune.engine.ledger.books import Books, expected_union, prices
from meshtune.engine.ledger.costs import (
    DIRECTIONS,
    SCALE_BITS,
    SEED_BITS,
    SIGNATURE_SAMPLES,
    PlacesCode,
    draws_masks,
    is_masked,
    is_published,
    kept_entries,
    places_bits,
    signature_values,
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
    published,
    pulls,
    with_new_masks,
)
from meshtune.engine.ledger.messages import Accounts, Messages, on_links, silence
from meshtune.engine.ledger.trees import breadth_first, expert_paths, expert_trees

__all__ = [
    "DIRECTIONS",
    "KNOWN",
    "NOTHING",
    "OFFER_BITS",
    "OLD_MASK",
    "SCALE_BITS",
    "SEED_BITS",
    "SIGNATURE_SAMPLES",
    "STRANGER",
    "Accounts",
    "Books",
    "Library",
    "Messages",
    "PlacesCode",
    "Pulls",
    "accounts",
    "breadth_first",
    "copied",
    "draws_masks",
    "empty_library",
    "expected_union",
    "expert_paths",
    "expert_trees",
    "is_masked",
    "is_published",
    "kept_entries",
    "library_slots",
    "on_links",
    "places_bits",
    "prices",
    "published",
    "pulls",
    "signature_values",
    "silence",
    "value_cost_bits",
    "with_new_masks",
]
