"""What curves need of the scores of one round: short, so that 10,000 rounds can be read at once."""

from collections.abc import Iterable, Mapping
from typing import Any

BEFORE_EXCHANGE = "accuracy_own_before_exchange"
DIGITS = 6  # of an accuracy, which is a share of at most some thousand samples


def curve_values(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of `RoundCurve`, but for the run, of a round with scores as it is stored.

    `own` has the accuracy of every device on its own task, in the order of the devices; `tasks` the
    mean over the devices that hold a task and over all devices.
    """
    holds = {device["device"]: device["task"] for device in stored["devices"]}
    own: dict[int, float] = {}
    own_of: dict[str, list[float]] = {}
    all_of: dict[str, list[float]] = {}
    for score in stored["scores"]:
        device, task, accuracy = score["device"], score["task"], score["accuracy"]
        all_of.setdefault(task, []).append(accuracy)
        if holds.get(device) == task:
            own[device] = accuracy
            own_of.setdefault(task, []).append(accuracy)
    return {
        "round_index": stored["round_index"],
        "own": [_short(own.get(device)) for device in holds],
        "tasks": {task: [_mean(own_of.get(task, ())), _mean(v)] for task, v in all_of.items()},
        "own_before_exchange": stored["extra"].get(BEFORE_EXCHANGE),
    }


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return _short(sum(known) / len(known)) if known else None


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
