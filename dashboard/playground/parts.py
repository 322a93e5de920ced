"""What the playground shows, as pure functions: cards of arms, weights of the gate."""

from html import escape

import plotly.graph_objects as go

from meshtune.backend.schemas.playground import AnsweredOut, ArmName, ArmOut
from meshtune.dashboard.figures.layout import blank_figure
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.look.words import word

ARM_TITLES: dict[ArmName, str] = {
    "base": "Bare model",
    "own": "Own adapter",
    "merged": "Merged",
    "gated": "Gated experts",
    "oracle": "Oracle",
    "outside": "From outside",
}
ARM_WORDS: dict[ArmName, str] = {
    "base": "The frozen model alone, before anybody trained.",
    "own": "The frozen model with the adapter that this device trained.",
    "merged": "All at equal weight and no gate: what averaging answers.",
    "gated": "The gate weighs the experts held, blind to the task (M10).",
    "oracle": "The expert of the right task: a bound, since it is told.",
    "outside": "The frozen model with the adapter of the folder chosen here.",
}
LIKELY_SHOWN = 5
TOKENS_TICKED = 60


def shown(text: str) -> str:
    """A token or an answer as one sees it: blanks and ends have signs."""
    return text.replace("\n", "\u21b5").replace(" ", "\u00b7") if not text.strip() else text


def arm_html(arm: ArmOut | None, name: ArmName, missing: str | None, mode: theme.Mode) -> str:
    """A card: what the arm said, whether it was right, and the likeliest first tokens."""
    head = f'<h3 class="mt-arm">{ARM_TITLES[name]}</h3><p class="mt-note">{ARM_WORDS[name]}</p>'
    if arm is None:
        return f'{head}<p class="mt-none">{escape(missing or "Not asked.")}</p>'
    verdict = ""
    if arm.correct is not None:
        tint = (theme.GOOD if arm.correct else theme.BAD).of(mode)
        sign, said = ("\u2713", "right") if arm.correct else ("\u2717", "wrong")
        verdict = f'<span style="color:{tint}">{sign} {said}</span>'
    answer = escape(shown(arm.text)) or "<i>nothing</i>"
    bars = bars_html([*arm.options] or arm.likely[:LIKELY_SHOWN], theme.ACCENT.of(mode))
    what = "Options" if arm.options else "Next token"
    return (
        f'{head}<p class="mt-said"><code>{answer}</code> {verdict}</p>'
        f'<p class="mt-note">{what}</p>{bars}'
    )


def bars_html(shares: list[tuple[str, float]], color: str) -> str:
    """Probabilities as bars, with their numbers."""
    lines = "".join(
        f"<tr><td><code>{escape(shown(text)) or '&nbsp;'}</code></td>"
        f'<td class="mt-bar"><i style="width:{100 * share:.1f}%;background:{color}"></i></td>'
        f"<td>{fmt.chance(share)}</td></tr>"
        for text, share in shares
    )
    return f'<table class="mt-bars">{lines}</table>'


CARD_CSS = """<style>
.mt-arm { font-size: 15px; font-weight: 600; margin: 0; padding: 0; }
.mt-note { font-size: 13px; opacity: .75; margin: 2px 0; }
.mt-none { font-size: 13px; margin: 8px 0; }
.mt-said { font-size: 18px; margin: 6px 0; overflow-wrap: anywhere; }
.mt-bars { width: 100%; border: 0; font-size: 13px; font-variant-numeric: tabular-nums;
  table-layout: fixed; }
.mt-bars td { border: 0; padding: 1px 6px 1px 0; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.mt-bars td:first-child { width: 38%; }
.mt-bars td:last-child { width: 62px; padding-right: 0; text-align: right; }
.mt-bar i { display: block; height: 10px; border-radius: 2px; min-width: 1px; }
</style>"""


def expert_names(answered: AnsweredOut) -> list[str]:
    """The experts of the library: place and task."""
    return [f"{place} {word(each.task)}" for place, each in enumerate(answered.experts)]


def short(module: str) -> str:
    """`layers.0.q_proj` as `0 q`."""
    return module.removeprefix("layers.").removesuffix("_proj").replace(".", " ")


def gate_chart(answered: AnsweredOut, module: str | None) -> go.Figure:
    """Weights: experts against tokens in one module, or against modules in the mean of tokens."""
    names = expert_names(answered)
    by_token = module is not None and len(answered.gate[0]) > 1
    x, rows = _for_tokens(answered, str(module)) if by_token else _for_modules(answered)
    each = f"for each token, {module}" if by_token else "in each module"
    title = f"Weight of each expert {each}"
    z = [[row[expert] for row in rows] for expert in range(len(names))]
    height = min(theme.LARGE, theme.SMALL - 40 + 26 * len(names))
    figure = blank_figure(title, max(theme.SMALL, height))
    figure.add_trace(
        go.Heatmap(
            x=x,
            y=names,
            z=z,
            zmin=0,
            zmax=1,
            colorscale=[list(stop) for stop in theme.ACCURACY_SCALE],
            xgap=1,
            ygap=2,
            hovertemplate="expert %{y}, %{x}: weight %{z:.2f}<extra></extra>",
            colorbar={
                "title": {"text": "Weight", "side": "right"},
                "thickness": 10,
                "outlinewidth": 0,
            },
        )
    )
    along = "Token of the prompt" if by_token else "Module: layer and projection"
    figure.update_xaxes(
        title={"text": along, "standoff": 4},
        showgrid=False,
        showticklabels=len(x) <= TOKENS_TICKED,
        tickangle=-90,
    )
    figure.update_yaxes(title={"text": "Expert"}, autorange="reversed", showgrid=False)
    figure.update_layout(hovermode="closest", margin={"l": 130, "r": 76, "b": 84})
    return figure


def _for_tokens(answered: AnsweredOut, module: str) -> tuple[list[str], list[list[float]]]:
    """The tokens of the prompt, and the weights of the experts for each of them."""
    tokens = [f"{place} {shown(token)}" for place, token in enumerate(answered.tokens)]
    return tokens, answered.gate[answered.modules.index(module)]


def _for_modules(answered: AnsweredOut) -> tuple[list[str], list[list[float]]]:
    """The modules, and the weights of the experts in each of them."""
    return [short(name) for name in answered.modules], [_mean(each) for each in answered.gate]


def _mean(tokens: list[list[float]]) -> list[float]:
    """Mean over the prompt; the start token, which is alike for all, is left out."""
    counted = tokens[1:] if len(tokens) > 1 else tokens
    return [sum(column) / len(counted) for column in zip(*counted, strict=True)]
