"""The paper's parameter figures, from the true shapes of its models."""

import pytest

from meshtune.engine.reproduce.qwen import (
    QWEN_1_5B,
    QWEN_7B,
    ModelShape,
    factor_counts,
    linear_shapes,
    reduction,
)


@pytest.mark.parametrize(("model", "a", "b"), [(QWEN_1_5B, 16.29, 20.64), (QWEN_7B, 36.24, 44.50)])
def test_factor_counts_in_millions(model: ModelShape, a: float, b: float) -> None:
    counts = factor_counts(model)
    assert [round(count / 1e6, 2) for count in counts] == [a, b]


@pytest.mark.parametrize(
    ("model", "half", "quarter"), [(QWEN_1_5B, 72.0, 86.0), (QWEN_7B, 72.4, 86.2)]
)
def test_reductions_in_percent(model: ModelShape, half: float, quarter: float) -> None:
    assert round(100 * reduction(model, 0.5), 1) == half
    assert round(100 * reduction(model, 0.25), 1) == quarter


@pytest.mark.parametrize(
    ("model", "trained", "sent"), [(QWEN_1_5B, 73.1, 86.6), (QWEN_7B, 76.0, 88.0)]
)
def test_the_paper_s_own_reductions(model: ModelShape, trained: float, sent: float) -> None:
    assert round(100 * model.paper_trained, 1) == trained
    assert round(100 * model.paper_sent, 1) == sent


def test_counts_by_hand_layer_by_layer() -> None:
    model = ModelShape("tiny", 3, 8, 4, 20, 0.0, 0.0)
    a, b = 0, 0
    for _ in range(3):
        for d_out, d_in in linear_shapes(model).values():
            for _ in range(2):
                a += d_in
                b += d_out
    assert factor_counts(model, rank=2) == (a, b)


def test_the_linear_weights_are_those_of_the_published_models() -> None:
    """1.31 and 6.53 billion: the published 1.5 and 7.6 billion less the embeddings."""
    for model, vocabulary, tied, published in (
        (QWEN_1_5B, 151_936, 1, 1.54e9),
        (QWEN_7B, 152_064, 2, 7.62e9),
    ):
        linear = model.layers * sum(o * i for o, i in linear_shapes(model).values())
        embeddings = tied * vocabulary * model.hidden
        assert linear + embeddings == pytest.approx(published, rel=0.01)
