"""Parameter arithmetic on the shapes of the paper's own models, which explains its headline.

LoRA of rank r on all seven linear layers of a block: A counts r d_in, B counts r d_out. Training a
share s of B instead of A and B saves 1 - s B / (A + B). With s = 0.5 trained and 0.25 sent this
gives the paper's ratios; its absolute counts (65.5M and 362M for LoRA) fit no such count.
"""

from dataclasses import dataclass

RANK = 32  # the paper's
TRAINED_DENSITY = 0.5  # inferred from the paper's ratios, as is the next
SENT_DENSITY = 0.25


@dataclass(frozen=True)
class ModelShape:
    """Widths of a decoder, from its published config.json.

    Attributes:
        name: Of the model.
        layers: Blocks.
        hidden: Width of the residual stream.
        key_value: Width of keys and of values: heads that share them, times 128.
        intermediate: Width inside the gated feed-forward layer.
        paper_trained: Reduction of trained parameters in the paper's Table I.
        paper_sent: Reduction of sent parameters in the paper's Table I.
    """

    name: str
    layers: int
    hidden: int
    key_value: int
    intermediate: int
    paper_trained: float
    paper_sent: float


QWEN_1_5B = ModelShape("Qwen2.5-1.5B", 28, 1536, 2 * 128, 8960, 1 - 0.54 / 2.01, 1 - 0.27 / 2.01)
QWEN_7B = ModelShape("Qwen2.5-7B", 28, 3584, 4 * 128, 18944, 1 - 0.60 / 2.5, 1 - 0.30 / 2.5)


def linear_shapes(model: ModelShape) -> dict[str, tuple[int, int]]:
    """(d_out, d_in) of the seven linear layers of a block."""
    hidden, narrow, wide = model.hidden, model.key_value, model.intermediate
    return {
        "q_proj": (hidden, hidden),
        "k_proj": (narrow, hidden),
        "v_proj": (narrow, hidden),
        "o_proj": (hidden, hidden),
        "gate_proj": (wide, hidden),
        "up_proj": (wide, hidden),
        "down_proj": (hidden, wide),
    }


def factor_counts(model: ModelShape, rank: int = RANK) -> tuple[int, int]:
    """Values of A, r sum d_in, and of B, r sum d_out, over all blocks."""
    shapes = linear_shapes(model).values()
    per_rank = model.layers * rank
    return per_rank * sum(d_in for _, d_in in shapes), per_rank * sum(d_out for d_out, _ in shapes)


def reduction(model: ModelShape, density: float, rank: int = RANK) -> float:
    """Share saved by B alone at `density`, against A and B: 1 - s B / (A + B)."""
    a, b = factor_counts(model, rank)
    return 1.0 - density * b / (a + b)
