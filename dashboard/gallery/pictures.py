"""The picture of a card: the mesh of a preset, and what came out when it was run. Pure."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine import quantities as words
from meshtune.engine.presets.stored import StoredResult

WIDTH, HEIGHT = 250, 130
LEFT, RIGHT, TOP, BOTTOM = 38.0, 186.0, 10.0, 100.0  # the plot; names of the lines stand right
LABEL_PX = 26  # two lines of text
FORGETS_FROM = 0.02  # a mean drop at the exchange of this size is drawn as teeth
FONT = 'font-family="sans-serif" font-size="11"'  # an image has no fonts of the page

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One curve of the picture."""

    name: str
    points: Points
    color: str
    width: float


def result_svg(result: StoredResult, mode: theme.Mode) -> str:
    """Accuracy against the bits sent so far, or against the rounds where nothing is sent."""
    xs, title = _axis(result)
    every = list(zip(xs, result.accuracy_all, strict=True))
    lines = [
        Line("own task", _own(result, xs), theme.MUTED.of(mode), 1.5),
        Line("all tasks", every, theme.ACCENT.of(mode), 2.0),
    ]
    ends = (result.accuracy_own[-1], result.accuracy_all[-1])
    heights = _apart([_y(value) for value in ends])
    parts = [_frame(mode, title)]
    for line, end, height in zip(lines, ends, heights, strict=True):
        parts += [_curve(line, xs[-1]), _name(line, fmt.percent(end), height)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}">{"".join(parts)}</svg>'
    )


def result_line(result: StoredResult) -> str:
    """The end of the stored run in one line, for below the picture."""
    return (
        f"Stored result: {words.ALL_TASKS.small} {fmt.percent(result.accuracy_all[-1])}, "
        f"{words.BITS_SENT.small} {fmt.bits(result.bits[-1])}, seed {result.seed}"
    )


def result_text(result: StoredResult) -> str:
    """The picture in words, for who hovers over it or cannot see it."""
    best = max(result.tasks, key=lambda task: result.tasks[task])
    worst = min(result.tasks, key=lambda task: result.tasks[task])
    return (
        f"Stored result after {fmt.count(result.round[-1], 'round')}: "
        f"own task {fmt.percent(result.accuracy_own[-1])}, "
        f"all tasks {fmt.percent(result.accuracy_all[-1])} "
        f"(best {theme.TASKS[best].title} {fmt.percent(result.tasks[best], 0)}, "
        f"worst {theme.TASKS[worst].title} {fmt.percent(result.tasks[worst], 0)}); "
        f"{words.BITS_SENT.small} {fmt.bits(result.bits[-1])}, "
        f"{words.AIRTIME.small} {fmt.seconds(result.airtime_s[-1])}; "
        f"one seed ({result.seed})."
    )


def side_by_side(*images: tuple[str, str, float]) -> str:
    """HTML images of SVGs in one line, each with what it shows in words and its share of it."""
    shown = "".join(
        f'<span style="width:{100 * share:.0f}%">{_image(svg, text)}</span>'
        for svg, text, share in images
    )
    return f'<div style="display:flex;gap:12px;align-items:center">{shown}</div>'


def _image(svg: str, text: str) -> str:
    """`text` is read out and shown on hover."""
    data = b64encode(svg.encode()).decode()
    said = quoteattr(text)
    return (
        f'<img src="data:image/svg+xml;base64,{data}" alt={said} title={said} '
        'style="width:100%;display:block">'
    )


def _axis(result: StoredResult) -> tuple[list[float], str]:
    sent = result.bits[-1]
    if sent:
        return [
            float(bits) for bits in result.bits
        ], f"accuracy over bits sent, to {fmt.bits(sent)}"
    rounds = [float(each) for each in result.round]
    return rounds, f"accuracy over {result.round[-1]} rounds; nothing sent"


def _own(result: StoredResult, xs: Sequence[float]) -> Points:
    """Own-task accuracy; with what it was before each exchange where the exchange costs much."""
    rows = list(zip(xs, result.before_exchange, result.accuracy_own, strict=True))
    drops = [before - after for _, before, after in rows if before is not None]
    if not drops or sum(drops) / len(drops) < FORGETS_FROM:
        return [(x, after) for x, _, after in rows]
    return [
        (x, value) for x, before, after in rows for value in (before, after) if value is not None
    ]


def _y(accuracy: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * accuracy


def _apart(heights: list[float]) -> list[float]:
    """Heights of two names, moved apart where they would cover each other, inside the picture."""
    first, second = heights
    low, high = TOP + 8, BOTTOM - LABEL_PX / 2
    if abs(first - second) < LABEL_PX:
        middle, sign = (first + second) / 2, -1 if first <= second else 1
        middle = min(max(middle, low + LABEL_PX / 2), high - LABEL_PX / 2)
        return [middle + sign * LABEL_PX / 2, middle - sign * LABEL_PX / 2]
    return [min(max(each, low), high) for each in heights]


def _frame(mode: theme.Mode, title: str) -> str:
    text = theme.MUTED.of(mode)
    rules = "".join(
        f'<path d="M{LEFT} {_y(share):.1f}H{RIGHT}" stroke="{theme.HAIRLINE.of(mode)}"/>'
        f'<text x="{LEFT - 5}" y="{_y(share) + 4:.1f}" text-anchor="end">{100 * share:.0f}'
        f"{' %' if share == 1 else ''}</text>"
        for share in (0.0, 0.5, 1.0)
    )
    name = f'<text x="4" y="{HEIGHT - 10}">{escape(title)}</text>'
    return f'<g fill="{text}" {FONT}>{rules}{name}</g>'


def _curve(line: Line, last: float) -> str:
    path = "L".join(
        f"{LEFT + (RIGHT - LEFT) * x / last:.1f} {_y(value):.1f}" for x, value in line.points
    )
    stroke = f'stroke="{line.color}" stroke-width="{line.width:g}"'
    return f'<path d="M{path}" fill="none" {stroke}/>'


def _name(line: Line, value: str, height: float) -> str:
    return (
        f'<g fill="{line.color}" {FONT}><text x="{RIGHT + 8}" y="{height:.1f}">{line.name}</text>'
        f'<text x="{RIGHT + 8}" y="{height + 12:.1f}" font-weight="600">{value}</text></g>'
    )
