"""Rows of generators: the same again, each once, and a sentence where the package is missing."""

import importlib.util
import json

import pytest

from meshtune.engine.data.generated import generated, generator_names
from meshtune.engine.data.rows import DataError

HERE = importlib.util.find_spec("reasoning_gym") is not None


@pytest.mark.skipif(HERE, reason="reasoning-gym is installed")
def test_without_the_package_the_sentence_has_the_command_that_gets_it() -> None:
    for ask in (generator_names, lambda: generated("chain_sum", 3, 0)):
        with pytest.raises(DataError, match=r"pip install 'meshtune\[gym\]'"):
            ask()


@pytest.mark.skipif(not HERE, reason="reasoning-gym is not installed")
def test_rows_are_the_same_again_and_each_is_asked_once() -> None:
    content = generated("chain_sum", 50, 1)
    assert content == generated("chain_sum", 50, 1) != generated("chain_sum", 50, 2)
    rows = [json.loads(line) for line in content.decode().splitlines()]
    assert len({row["question"] for row in rows}) == len(rows) > 40
    assert all(row["answer"].lstrip("-").isdigit() for row in rows)
    assert len(generator_names()) >= 20
    with pytest.raises(DataError, match="did you mean chain_sum"):
        generated("chain_sums", 3, 0)
    with pytest.raises(DataError, match="no single right answer"):
        generated("rush_hour", 3, 0)
