"""The look in one table: colours and marker shapes of tasks, methods and states, light and dark."""

import zlib
from dataclasses import dataclass
from itertools import cycle
from typing import Literal, get_args

from meshtune.engine.config import TaskName
from meshtune.engine.methods.kind import Dash
from meshtune.engine.methods.registry import METHODS as METHOD_KINDS
from meshtune.engine.records import RunStatus
from meshtune.engine.tasks.registry import TASKS as TASK_ROWS

Mode = Literal["light", "dark"]
Marker = Literal["circle", "square", "diamond", "triangle"]


@dataclass(frozen=True)
class Tint:
    """One colour in both modes."""

    light: str
    dark: str

    def of(self, mode: Mode) -> str:
        """The colour that `mode` shows."""
        return self.dark if mode == "dark" else self.light


ACCENT = Tint("#4F46E5", "#818CF8")
TEXT = Tint("#1F2430", "#E6E8EE")
MUTED = Tint("#5B6270", "#9AA3B2")
PAPER = Tint("#FFFFFF", "#0F1218")
PANEL = Tint("#F7F7F9", "#171B24")
HAIRLINE = Tint("#E3E5EA", "#2A303C")
GOOD = Tint("#15803D", "#4ADE80")
WARN = Tint("#B45309", "#FBBF24")
BAD = Tint("#B91C1C", "#F87171")

# Heights in px: one line of numbers, one chart, one of three pictures of a run, one large picture.
SMALL, MEDIUM, TALL, LARGE = 220, 320, 420, 460


@dataclass(frozen=True)
class TaskLook:
    """How a task is drawn: the hues of two that are alike are near each other."""

    title: str
    color: str
    marker: Marker
    filled: bool


# Given to tasks in their order: told apart without colour vision (Okabe & Ito, 2008), and the two
# of one marker by their fill.
TASK_COLORS = (
    "#0072B2",
    "#56B4E9",
    "#D55E00",
    "#E69F00",
    "#007A5A",
    "#5CC8A1",
    "#8A3C8F",
    "#CC79A7",
)
MARKERS: tuple[Marker, ...] = get_args(Marker)


def _look_of(title: str, place: int) -> TaskLook:
    """The look at a place: colours come again with another marker, then with another fill."""
    again, color = divmod(place, len(TASK_COLORS))
    filled, shift = divmod(again, len(MARKERS))
    marker = MARKERS[(color // 2 + shift) % len(MARKERS)]
    return TaskLook(title, TASK_COLORS[color], marker, (color + filled) % 2 == 0)


class TaskLooks(dict[TaskName, TaskLook]):
    """The look of every task of the catalogue, and one for each other name that is asked for.

    A name from outside takes the colour that its letters choose, or the next one that no other
    such name has yet, so that tasks of one run are told apart and mostly keep their colour.
    """

    def __missing__(self, name: TaskName) -> TaskLook:
        count, taken = len(TASK_COLORS), [self[other].color for other in self.keys() - {*TASK_ROWS}]
        first = zlib.crc32(name.encode()) % count
        places = ((first + step) % count for step in range(count))
        free = next((place for place in places if TASK_COLORS[place] not in taken), first)
        title = name.replace("_", " ").capitalize()
        self[name] = _look_of(title, free + count * (len(taken) // count))
        return self[name]


TASKS: dict[TaskName, TaskLook] = TaskLooks(
    {task.name: _look_of(task.title, place) for place, task in enumerate(TASK_ROWS.rows())}
)


def plotly_symbol(task: TaskName) -> str:
    """Plotly's name of the marker of `task`."""
    look = TASKS[task]
    name = {"triangle": "triangle-up"}.get(look.marker, look.marker)
    return name if look.filled else f"{name}-open"


@dataclass(frozen=True)
class MethodLook:
    """How the curves of a method are drawn."""

    title: str
    short: str
    tint: Tint
    dash: Dash


# For methods that name no colour: told apart without colour vision (Okabe & Ito, 2008).
SPARE_TINTS = (
    Tint("#0072B2", "#56B4E9"),
    Tint("#D55E00", "#E69F00"),
    Tint("#007A5A", "#5CC8A1"),
    Tint("#8A3C8F", "#CC79A7"),
)


def _looks() -> dict[str, MethodLook]:
    spare = cycle(SPARE_TINTS)
    return {
        method.name: MethodLook(
            method.look.title,
            method.look.short,
            next(spare) if method.look.color is None else Tint(*method.look.color),
            method.look.dash,
        )
        for method in METHOD_KINDS.rows()
    }


METHODS: dict[str, MethodLook] = _looks()
# Several runs of one method keep its colour and take these dashes in turn.
REPEAT_DASHES: tuple[Dash, ...] = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def method_look(method: str) -> MethodLook:
    """Look of `method`; a method this table does not know yet is drawn in text colour."""
    return METHODS.get(method, MethodLook(method, method, TEXT, "solid"))


@dataclass(frozen=True)
class StatusLook:
    """How the state of a run is named and marked."""

    title: str
    badge: Literal["gray", "blue", "green", "orange", "red"]
    icon: str


STATUSES: dict[RunStatus, StatusLook] = {
    RunStatus.QUEUED: StatusLook("Queued", "gray", ":material/schedule:"),
    RunStatus.RUNNING: StatusLook("Running", "blue", ":material/play_circle:"),
    RunStatus.PAUSED: StatusLook("Paused", "gray", ":material/pause_circle:"),
    RunStatus.COMPLETED: StatusLook("Completed", "green", ":material/check_circle:"),
    RunStatus.DIVERGED: StatusLook("Diverged", "orange", ":material/trending_up:"),
    RunStatus.CANCELLED: StatusLook("Cancelled", "gray", ":material/cancel:"),
    RunStatus.FAILED: StatusLook("Failed", "red", ":material/error:"),
}

# Accuracy: viridis, readable in grey and without colour vision.
ACCURACY_SCALE: tuple[tuple[float, str], ...] = (
    (0.0, "#440154"),
    (0.25, "#3B528B"),
    (0.5, "#21918C"),
    (0.75, "#5EC962"),
    (1.0, "#FDE725"),
)
# Link quality: one hue, weak links fade into the paper. Ends are at these signal-to-noise ratios.
SNR_RANGE_DB = (0.0, 40.0)
SNR_WEAK = Tint("#C7CBEA", "#3A3F63")
SNR_STRONG = Tint("#3730A3", "#A5B4FC")


def blend(low: str, high: str, share: float) -> str:
    """The colour at `share` (0 to 1) of the straight way from `low` to `high`, as #RRGGBB."""
    bounded = min(1.0, max(0.0, share))
    parts = (
        round(int(low[i : i + 2], 16) * (1 - bounded) + int(high[i : i + 2], 16) * bounded)
        for i in (1, 3, 5)
    )
    return "#" + "".join(f"{part:02X}" for part in parts)


def snr_share(snr_db: float) -> float:
    """Place of a signal-to-noise ratio on the colour scale of links, 0 to 1."""
    low, high = SNR_RANGE_DB
    return min(1.0, max(0.0, (snr_db - low) / (high - low)))


def snr_color(snr_db: float | None, mode: Mode) -> str:
    """Colour of a link; an ideal link, which has no SNR, is drawn as the strongest."""
    share = 1.0 if snr_db is None else snr_share(snr_db)
    return blend(SNR_WEAK.of(mode), SNR_STRONG.of(mode), share)


def contrast_css(mode: Mode) -> str:
    """A style sheet for parts of Streamlit whose text stands out too little from its ground."""
    ink = PAPER.of(mode) if mode == "dark" else "#FFFFFF"
    caption = f"color: {MUTED.of(mode)} !important; opacity: 1 !important;"
    return (
        "<style>"
        f'[data-testid="stCaptionContainer"] {{ {caption} }}'
        '[data-testid="stCaptionContainer"] * { color: inherit; opacity: 1; }'
        f'[data-testid^="stBaseButton-primary"]:not(:disabled) * {{ color: {ink}; }}'
        f"[data-tag] * {{ color: {ink}; }}"
        "</style>"
    )
