"""Small files of rows in the shapes of published data sets."""

import json
from collections.abc import Iterable
from typing import Any

COUNT = 20


def json_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    """Rows as a file, one a line."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


def boolq(count: int = COUNT) -> bytes:
    """As BoolQ is published."""
    return json_lines(
        {"question": f"is {n} even", "passage": f"{n} is {n}.", "answer": n % 2 == 0}
        for n in range(count)
    )


def arc(count: int = COUNT) -> bytes:
    """As ARC is published with lists of choices."""
    return json_lines(
        {
            "question": f"what follows {n}?",
            "choices": {"text": [f"{n + 1}", f"{n + 2}"], "label": ["A", "B"]},
            "answerKey": "A",
        }
        for n in range(count)
    )


def gsm8k(count: int = COUNT) -> bytes:
    """As GSM8K is published."""
    return json_lines(
        {"question": f"{n} and 1?", "answer": f"It is {n + 1}.\n#### {n + 1}"} for n in range(count)
    )
