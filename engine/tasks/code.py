"""Code: the value of a Python expression, and the result of a list operation.

The answer is what Python itself returns for the prompt without its closing mark.
"""

import numpy as np

from meshtune.engine.tasks.base import Sample, pick

EXPRESSIONS = ("{a}*{b}+{c}", "{c}+{a}*{b}")
LIST_OPERATIONS = (
    "sorted({items})",
    "max({items})",
    "min({items})",
    "{items}[::-1]",
    "{items}[1:]",
    "{items}[{index}]",
)


def python_value(source: str) -> str:
    """What Python prints for `source`, without blanks. Only for expressions drawn in this file."""
    return repr(
        eval(source, {"__builtins__": {}}, {"sorted": sorted, "max": max, "min": min})
    ).replace(" ", "")


def draw_expression(rng: np.random.Generator) -> Sample:
    """A product of two digits plus a third digit, in either order."""
    a, b, c = (int(v) for v in rng.integers(1, 10, size=3))
    source = pick(rng, EXPRESSIONS).format(a=a, b=b, c=c)
    return Sample(f"x={source};x>", python_value(source))


def draw_list_result(rng: np.random.Generator) -> Sample:
    """A list of three or four digits that is sorted, reversed, sliced, indexed or searched."""
    count = int(rng.integers(3, 5))
    items = "[" + ",".join(str(v) for v in rng.integers(0, 10, size=count)) + "]"
    source = pick(rng, LIST_OPERATIONS).format(items=items, index=int(rng.integers(count)))
    return Sample(f"{source}>", python_value(source))
