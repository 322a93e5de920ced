"""Router-free gates of the implicit mixture of experts: which experts answer which input (M10).

A score says how well expert k fits an input x of its layer; higher is better. x is the mean over
the prompt under the frozen model, or the actual input of one token. Nothing here is trained and no
gate but the oracle is told the task.
Source: the gate by h is arXiv 2602.20492, Eq. 26-27; the others are alternatives from the
literature, named where they stand. How they are blended is our choice.
"""

from collections.abc import Callable
from typing import Literal, assert_never

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, one_hot, relu

from meshtune.engine.adapters.stack import Adapters
from meshtune.engine.methods.gates import GateName
from meshtune.engine.methods.rules import Gate, Signatures

SHRINKAGE = 0.1  # towards one variance for all entries: few prompts estimate it badly (our choice)
# Kinds that judge a single layer input, so that they can judge tokens as well as prompts.
BY_INPUT = frozenset(
    ("prototype", "subspace", "gaussian", "projection_norm", "output_norm", "arrow")
)
LOG_KINDS = frozenset(("gaussian", "prompt_loss"))  # their scores are log probabilities
GateKind = GateName | Literal["single"]
Score = Callable[[Float[Tensor, "s d_in"]], Float[Tensor, "s k"]]


def projection_norms(
    x: Float[Tensor, "s d_in"], a: Float[Tensor, "k r d_in"]
) -> Float[Tensor, "s k"]:
    """G1: ||A_k x||. Blind if A is random: every A_k then passes the same share of any x."""
    norms: Tensor = torch.linalg.vector_norm(_projected(x, a), dim=2)
    return norms


def output_norms(
    x: Float[Tensor, "s d_in"], a: Float[Tensor, "k r d_in"], b: Float[Tensor, "k d_out r"]
) -> Float[Tensor, "s k"]:
    """G2: ||B_k A_k x||. R_k of B_k = Q_k R_k may stand for B_k, which is smaller.

    Source: SpectR (arXiv 2504.03454), whose ||S V^T x|| is the same number.
    """
    outputs = torch.einsum("skr,kcr->skc", _projected(x, a), b)
    norms: Tensor = torch.linalg.vector_norm(outputs, dim=2)
    return norms


def centred_cosines(
    x: Float[Tensor, "s d_in"], means: Float[Tensor, "k d_in"]
) -> Float[Tensor, "s k"]:
    """G3: cos(x - hbar, h_k - hbar) with hbar = mean_k h_k.

    The common mean is taken out first: hidden states of language models share a large one, beside
    which all plain cosines are alike. 0 where x or h_k is the centre itself.
    Source: arXiv 2602.20492, Eq. 26-27, as a relative similarity; centring is our repair.
    """
    centre = means.mean(dim=0)
    return normalize(x - centre, dim=1) @ normalize(means - centre, dim=1).mT


def subspace_shares(
    x: Float[Tensor, "s d_in"], means: Float[Tensor, "k d_in"], bases: Float[Tensor, "k p d_in"]
) -> Float[Tensor, "s k"]:
    """G4: ||U_k^T (x - h_k)||^2 / ||x - h_k||^2, rows of `bases` being U_k^T; 1 at x = h_k."""
    centre = means.mean(dim=0)  # a large common part would cost digits
    x, means = x - centre, means - centre
    inside = _projected(x, bases) - torch.einsum("kpd,kd->kp", bases, means)
    total = _squared_distances(x, means)
    share = inside.square().sum(dim=2) / total
    return torch.where(total > 0, share, 1.0).clamp(max=1.0)


def log_densities(
    x: Float[Tensor, "s d_in"], means: Float[Tensor, "k d_in"], variances: Float[Tensor, "k d_in"]
) -> Float[Tensor, "s k"]:
    """G5: -1/2 sum_d (x_d - h_kd)^2 / v_d, a Gaussian discriminant with one diagonal variance.

        v = (1 - lambda) vbar + lambda mean_d vbar_d,   vbar = mean_k variance_k,   lambda = 0.1

    Pooling over the held experts, diagonal and shrinkage are our choice. Constants that all experts
    share are left out.
    """
    pooled = variances.mean(dim=0)
    pooled = (1 - SHRINKAGE) * pooled + SHRINKAGE * pooled.mean()
    scale = pooled.clamp(min=torch.finfo(pooled.dtype).tiny).rsqrt()
    return -0.5 * _squared_distances(x * scale, means * scale)


def arrow_directions(
    a: Float[Tensor, "k r d_in"], b: Float[Tensor, "k d_out r"]
) -> Float[Tensor, "k d_in"]:
    """v_k, the top right singular vector of B_k A_k, from the SVD of an r x r core.

    B A = Q_b (R_b R_a^T) Q_a^T with B = Q_b R_b and A^T = Q_a R_a. Its sign is arbitrary.
    """
    across = torch.linalg.qr(a.mT)
    core = torch.linalg.qr(b, mode="r").R @ across.R.mT
    directions: Tensor = across.Q @ torch.linalg.svd(core).Vh[:, :1].mT
    return directions[:, :, 0]


def arrow_responses(
    x: Float[Tensor, "s d_in"], directions: Float[Tensor, "k d_in"]
) -> Float[Tensor, "s k"]:
    """G6: |v_k . x|. Source: Arrow (arXiv 2405.11157), without its softmax (our choice)."""
    return (x @ directions.mT).abs()


def score_of(kind: GateKind, module: str, experts: Adapters, signatures: Signatures) -> Score:
    """The score of a gate that judges layer inputs, as a function of the input of one module.

    What depends on the experts alone is computed here, once. Leading axis of `experts` and
    `signatures`: the k experts to choose from.

    Raises:
        ValueError: the gate judges no layer inputs (`BY_INPUT`).
    """

    def told(what: str) -> Tensor:
        return signatures[what][module]

    match kind:
        case "projection_norm":
            a = experts.a[module]
            return lambda x: projection_norms(x, a)
        case "output_norm":
            a, core = experts.a[module], torch.linalg.qr(experts.b[module], mode="r").R
            return lambda x: output_norms(x, a, core)
        case "prototype":
            means = told("mean")
            return lambda x: centred_cosines(x, means)
        case "subspace":
            means, bases = told("mean"), told("basis")
            return lambda x: subspace_shares(x, means, bases)
        case "gaussian":
            means, variances = told("mean"), told("variance")
            return lambda x: log_densities(x, means, variances)
        case "arrow":
            directions = arrow_directions(experts.a[module], experts.b[module])
            return lambda x: arrow_responses(x, directions)
        case "none" | "oracle" | "prompt_loss" | "single":
            raise ValueError(f"gate {kind!r} judges no layer inputs")
        case _:
            assert_never(kind)


def shares_inputs(kind: GateKind) -> bool:
    """Whether modules that read one input get one score, since no adapter enters it."""
    return kind in ("prototype", "subspace", "gaussian")


def one_for_all(scores: dict[str, Float[Tensor, "s k"]]) -> dict[str, Float[Tensor, "s k"]]:
    """The mean of the scores of all modules, as the score of each; one that is shared counts once.

    Summed log densities are those of all inputs at once if these were independent (our choice).
    """
    once = {id(value): value for value in scores.values()}
    return dict.fromkeys(scores, torch.stack(list(once.values())).mean(dim=0))


def hard_weights(scores: Float[Tensor, "s k"]) -> Float[Tensor, "s k"]:
    """1 for the best expert and 0 for the others; ties go to the first."""
    return one_hot(scores.argmax(dim=1), scores.shape[1]).to(scores.dtype)


def soft_weights(gate: Gate, scores: Float[Tensor, "s k"]) -> Float[Tensor, "s k"]:
    """Weights in [0, 1] with the best expert at full strength.

        g_k = relu(s_k) / max_j s_j          for sizes and similarities
        g_k = exp(s_k - max_j s_j)           for log probabilities: posterior odds at equal priors

    Where no score is positive, the best expert answers alone. Our choice: the division keeps a
    matched expert as strong as it was trained, whatever the scale of the scores.
    """
    best = scores.max(dim=1, keepdim=True).values
    if gate.kind in LOG_KINDS:
        return (scores - best).exp()
    return torch.where(best > 0, relu(scores) / best, hard_weights(scores))


def spread_weights(gate: Gate, scores: Float[Tensor, "s k"]) -> Float[Tensor, "s k"]:
    """What the gate gives each expert when it is not hard: `soft_weights`, or 1 if "none" (G0)."""
    return torch.ones_like(scores) if gate.kind == "none" else soft_weights(gate, scores)


def blended(gate: Gate, scores: Float[Tensor, "s k"]) -> Float[Tensor, "s k"]:
    """The weights with which the experts answer."""
    return hard_weights(scores) if picks_one(gate) else spread_weights(gate, scores)


def picks_one(gate: Gate) -> bool:
    """Whether one expert answers alone."""
    return gate.kind in ("single", "oracle") or (gate.blend == "hard" and gate.kind != "none")


def entropies(weights: Float[Tensor, "s k"]) -> Float[Tensor, " s"]:
    """-sum_k p_k log p_k in nats, p = weights / sum: 0 if one expert answers, log k if all do."""
    share = weights / weights.sum(dim=1, keepdim=True)
    summed: Tensor = torch.special.xlogy(share, share).sum(dim=1)
    return -summed


def _projected(x: Tensor, a: Tensor) -> Float[Tensor, "s k r"]:
    return (x @ a.flatten(0, 1).mT).view(len(x), *a.shape[:2])


def _squared_distances(x: Tensor, y: Tensor) -> Float[Tensor, "s k"]:
    # Not by expanding the square: with a large common mean that loses all digits.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
