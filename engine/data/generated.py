"""Rows from the seeded generators of the package reasoning-gym, written into a file."""

import difflib
import json
from collections.abc import Iterator
from typing import Any

from meshtune.engine.data.rows import DataError


def generator_names() -> list[str]:
    """All generators that make rows without being told more than how many.

    Raises:
        DataError: the package is not installed.
    """
    return sorted(name for name in _gym().factory.DATASETS if name != "composite")


def generated(name: str, rows: int, seed: int) -> bytes:
    """JSON lines with a question and an answer, the same for equal arguments.

    Questions that come again, and those of which the generator tells no answer, are left out.

    Raises:
        DataError: the package is not installed, has no such generator, or it tells no answers.
    """
    names = generator_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise DataError(f"there is no generator {name[:80]!r}{hint}")
    lines = list(_lines(_gym().create_dataset(name, size=rows, seed=seed)))
    if not lines:
        raise DataError(f"{name} has no single right answer; choose another generator")
    return ("\n".join(lines) + "\n").encode()


def _lines(drawn: Any) -> Iterator[str]:
    seen: set[str] = set()
    for row in drawn:
        if row["answer"] is None or row["question"] in seen:
            continue
        seen.add(row["question"])
        told = {"question": row["question"], "answer": str(row["answer"])}
        yield json.dumps(told, ensure_ascii=False)


def _gym() -> Any:
    try:
        import reasoning_gym  # noqa: PLC0415 - an extra, and it takes seconds
    except ImportError as error:
        raise DataError(
            "reasoning-gym is not installed; get it with pip install 'meshtune[gym]'"
        ) from error
    return reasoning_gym
