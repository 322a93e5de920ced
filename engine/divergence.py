"""Where the numbers of a round left the finite range, and on which devices: the run has diverged.

Every value that a round hands on is looked at before it can reach a record, a checkpoint or the
next round.
"""

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.answering.evaluate import Scores
from meshtune.engine.errors import CALMER, NumericsError
from meshtune.engine.methods.rules import Bank, Memory
from meshtune.engine.methods.shared.precision import LARGEST_ON_AIR, on_air
from meshtune.engine.records import RoundRecord

LOST = "became NaN or infinite"


def require_warmed_up(round_index: int, warmed: Adapters, losses: Float[Tensor, "steps n"]) -> None:
    """Masks are chosen by the warmed adapters, which are then forgotten.

    Raises:
        NumericsError: a loss or an adapter is not finite.
    """
    finite = finite_devices(warmed) & losses.isfinite().all(dim=0)
    _require(round_index, finite, f"loss or adapter {LOST} in the warm-up for the masks")


def require_trained(
    round_index: int, parts: tuple[Adapters, ...], losses: Float[Tensor, "steps n"]
) -> None:
    """`parts`: the adapters, and what the optimizer remembers; of all devices, or one for all.

    AdamW's squared gradients may overflow while the adapter stands still for ever.

    Raises:
        NumericsError: a loss, an adapter or the optimizer is not finite.
    """
    finite = losses.isfinite().all(dim=0)
    for part in parts:
        finite = finite & finite_devices(part)
    _require(round_index, finite, f"loss or adapter {LOST}")


def require_exchanged(
    round_index: int,
    value_bits: int,
    trained: Adapters,
    kept: Adapters,
    memory: Memory,
    bank: Bank | None,
) -> None:
    """What devices keep of an exchange, and what they answer with, is finite.

    Where a message could not carry a value, its senders are named, not those that heard it.

    Args:
        round_index: The round.
        value_bits: Precision on air.
        trained: Adapters after local training, finite.
        kept: What the exchange made of them.
        memory: What the method remembers after the round.
        bank: The experts that answer; None in a round without evaluation.

    Raises:
        NumericsError: some value is not finite.
    """
    finite = finite_devices(kept)
    shared = True  # copies, of which a memory or a bank has more or fewer than there are devices
    for value in memory.values():
        rows = _finite_rows(value)
        if len(rows) == len(finite):
            finite = finite & rows
        else:
            shared &= bool(rows.all())
    if bank is not None:
        shared &= bool(finite_devices(bank.experts).all())
    if shared and finite.all():
        return
    carried = finite_devices(on_air(trained, value_bits))
    _require(
        round_index,
        carried,
        f"an adapter grew past {LARGEST_ON_AIR:,.0f}, the most that {value_bits} bits can carry,",
        "lower training.learning_rate, or set adapter.value_bits to 32",
    )
    named = torch.zeros_like(finite) if finite.all() else finite
    _require(round_index, named, f"adapter {LOST} in the exchange")


def require_scored(round_index: int, scores: Scores) -> None:
    """Answers have a finite loss.

    Raises:
        NumericsError: some do not.
    """
    finite = scores.loss.isfinite().all(dim=1)
    _require(round_index, finite, f"loss of the answers {LOST}")


def require_distances(round_index: int, distances: Float[Tensor, " n"]) -> None:
    """Adapters are small enough to be compared: squares leave the finite numbers before they do.

    Raises:
        NumericsError: some are not.
    """
    _require(round_index, distances.isfinite(), f"distance to the mean adapter {LOST}")


def require_recorded(record: RoundRecord) -> None:
    """What was learned in a round can be written down.

    Raises:
        NumericsError: a number of the record is not finite; it belongs to no device alone.
    """
    for name, value in {"train_loss": record.train_loss, **record.extra}.items():
        if not math.isfinite(value):
            devices = [device.device for device in record.devices]
            raise NumericsError(record.round_index, devices, f"{name} {LOST}")


def finite_devices(adapters: Adapters) -> Bool[Tensor, " n"]:
    """Devices all of whose values are finite."""
    rows = [_finite_rows(value) for value in (*adapters.a.values(), *adapters.b.values())]
    return torch.stack(rows).all(dim=0) if rows else torch.ones(1, dtype=torch.bool)


def _finite_rows(value: Shaped[Tensor, "n ..."]) -> Bool[Tensor, " n"]:
    return value.isfinite().flatten(1).all(dim=1) if value.dim() > 1 else value.isfinite()


def _require(round_index: int, finite: Bool[Tensor, " n"], what: str, advice: str = CALMER) -> None:
    if not finite.all():
        devices = (~finite).nonzero().flatten().tolist()
        raise NumericsError(round_index, devices, what, advice)
